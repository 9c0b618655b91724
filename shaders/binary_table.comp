// Any function of two int8 tensors of one shape and layout. One invocation per word.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#define PAIR_TABLE_BINDING 3
#include "pair_table.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer InputA { int a_words[]; };
layout(set = 0, binding = 1) readonly buffer InputB { int b_words[]; };
layout(set = 0, binding = 2) writeonly buffer Output { int output_words[]; };

layout(push_constant) uniform Parameters { int word_count; };

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 a = unpack_int8(a_words[word]);
    ivec4 b = unpack_int8(b_words[word]);
    output_words[word] = pack_int8(table_bytes(pair_index(a, b)));
}
