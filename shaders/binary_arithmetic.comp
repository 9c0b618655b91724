// An affine function of two int8 tensors of one shape and layout (affine_sum.glsl).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "affine_sum.glsl"
#include "int8.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer InputA { int a_words[]; };
layout(set = 0, binding = 1) readonly buffer InputB { int b_words[]; };
layout(set = 0, binding = 2) writeonly buffer Output { int output_words[]; };

layout(push_constant) uniform Parameters {
    int word_count;
    int a_offset;  // what is subtracted from a stored value
    int b_offset;
    int output_storage_offset;
    float a_scale;
    float b_scale;
    float offset;
};

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 a = unpack_int8(a_words[word]) - a_offset;
    ivec4 b = unpack_int8(b_words[word]) - b_offset;
    output_words[word] =
        pack_int8(affine_sum(a, b, a_scale, b_scale, offset, output_storage_offset));
}
