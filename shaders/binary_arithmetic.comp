// An affine function of two int8 values, each step rounded to float32 on its own: used where
// enumerating all pairs has proved it equal to the table (vkbackend/quant/pair.py is the twin).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer InputA { int a_words[]; };
layout(set = 0, binding = 1) readonly buffer InputB { int b_words[]; };
layout(set = 0, binding = 2) writeonly buffer Output { int output_words[]; };

layout(push_constant) uniform Parameters {
    int word_count;
    int a_storage_offset;
    int b_storage_offset;
    int output_storage_offset;
    int low;
    int high;
    float a_scale;
    float b_scale;
    float offset;
};

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    vec4 a = vec4(unpack_int8(a_words[word]) - a_storage_offset);
    vec4 b = vec4(unpack_int8(b_words[word]) - b_storage_offset);
    precise vec4 from_a = a * a_scale;
    precise vec4 from_b = b * b_scale;
    precise vec4 shifted = from_b + offset;
    precise vec4 total = from_a + shifted;
    ivec4 result = ivec4(clamp(roundEven(total), float(low), float(high)));
    output_words[word] = pack_int8(result + output_storage_offset);
}
