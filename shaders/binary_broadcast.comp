// A function of two int8 values whose tensors are broadcast to one shape: by a table of pairs, or
// where enumeration has proved it equal by arithmetic, each step rounded to float32 on its own.
// One invocation per word of four output channels.
#version 450
#pragma variants FORM table arithmetic
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#ifdef FORM_TABLE
#define PAIR_TABLE_BINDING 3
#include "pair_table.glsl"
#else
#include "affine_sum.glsl"
#endif

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_A_LAYOUT = 0;
layout(constant_id = 2) const int INPUT_B_LAYOUT = 0;
layout(constant_id = 3) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 4) const bool SAME = false;  // one shape and layout: words match

layout(set = 0, binding = 0) readonly buffer InputA { int a_words[]; };
layout(set = 0, binding = 1) readonly buffer InputB { int b_words[]; };
layout(set = 0, binding = 2) writeonly buffer Output { int output_words[]; };
#ifdef FORM_ARITHMETIC
layout(constant_id = 5) const bool PRODUCT = false;  // else an affine form
#endif

layout(push_constant) uniform Parameters {
    int a_n;
    int a_c;
    int a_h;
    int a_w;
    int b_n;
    int b_c;
    int b_h;
    int b_w;
    int batch;
    int channels;
    int height;
    int width;
    int word_count;
#ifdef FORM_ARITHMETIC
    int a_offset;  // what is subtracted from a stored value: its storage offset, or its zero point
    int b_offset;
    int output_storage_offset;
    float a_scale;
    float b_scale;
    float offset;
#endif
};

#ifdef FORM_TABLE
int compute(ivec4 a, ivec4 b) { return pack_int8(table_bytes(pair_index(a, b))); }
#else
int compute(ivec4 a, ivec4 b) {
    a -= a_offset;
    b -= b_offset;
    ivec4 first = PRODUCT ? a * b : a;
    return pack_int8(affine_sum(first, b, a_scale, b_scale, offset, output_storage_offset));
}
#endif

// The four values that an operand of these dims has for a word of output channels.
ivec4 lanes_of(int word, ivec4 dims) {
    return dims.y == 1 && channels > 1 ? ivec4(bitfieldExtract(word, 0, 8)) : unpack_int8(word);
}

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    if (SAME) {
        output_words[word] = compute(unpack_int8(a_words[word]), unpack_int8(b_words[word]));
        return;
    }
    ivec4 dims = ivec4(batch, channels, height, width);
    ivec4 at = channel_word_position(OUTPUT_LAYOUT, dims, word);
    if (any(greaterThanEqual(at, dims))) return;
    ivec4 a_dims = ivec4(a_n, a_c, a_h, a_w);
    ivec4 b_dims = ivec4(b_n, b_c, b_h, b_w);
    // An axis of size 1 is read at its only position.
    int a_word = layout_address(INPUT_A_LAYOUT, a_dims, min(at, a_dims - 1)) / 4;
    int b_word = layout_address(INPUT_B_LAYOUT, b_dims, min(at, b_dims - 1)) / 4;
    output_words[word] = compute(lanes_of(a_words[a_word], a_dims),
                                 lanes_of(b_words[b_word], b_dims));
}
