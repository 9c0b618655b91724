// Any function of two int8 values: a table of 65,536 bytes. One invocation per word.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer InputA { int a_words[]; };
layout(set = 0, binding = 1) readonly buffer InputB { int b_words[]; };
layout(set = 0, binding = 2) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 3) readonly buffer Table { int table_words[]; };

layout(push_constant) uniform Parameters { int word_count; };

int look_up(int a, int b) {
    int index = 256 * (a + 128) + b + 128;
    return table_words[index / 4] >> (8 * (index % 4));
}

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 a = unpack_int8(a_words[word]);
    ivec4 b = unpack_int8(b_words[word]);
    output_words[word] = pack_int8(ivec4(look_up(a.x, b.x), look_up(a.y, b.y),
                                         look_up(a.z, b.z), look_up(a.w, b.w)));
}
