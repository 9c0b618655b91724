// Any function of one int8 value: a table of 256 bytes. One invocation per word of four values.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Table { int table_words[]; };

layout(push_constant) uniform Parameters { int word_count; };

int look_up(int value) {
    int index = value + 128;
    return table_words[index / 4] >> (8 * (index % 4));
}

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 x = unpack_int8(input_words[word]);
    output_words[word] = pack_int8(ivec4(look_up(x.x), look_up(x.y), look_up(x.z), look_up(x.w)));
}
