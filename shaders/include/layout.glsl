// Where the element (n, c, h, w) of a tensor lies in each layout: the twin of vkbackend/layouts.py.
// `code` is Layout.code there, always a specialisation constant here, so that all of this folds.
#ifndef LAYOUT_GLSL
#define LAYOUT_GLSL

#include "divide.glsl"

int layout_inner(const int code) { return (code >> 8) & 3; }
int layout_outer(const int code) { return (code >> 10) & 3; }
int layout_inner_block(const int code) { return (code & 0x1000) != 0 ? 4 : 1; }
int layout_outer_block(const int code) { return (code & 0x2000) != 0 ? 4 : 1; }

// Elements along dimension `axis` (N 0, C 1, H 2, W 3) that one block holds.
int layout_block_of(const int code, const int axis) {
    int inner = axis == layout_inner(code) ? layout_inner_block(code) : 1;
    return inner * (axis == layout_outer(code) ? layout_outer_block(code) : 1);
}

// Blocks along dimension `axis` of a tensor with dims (n, c, h, w).
int layout_blocks(const int code, const ivec4 dims, const int axis) {
    int block = layout_block_of(code, axis);
    return (dims[axis] + block - 1) / block;
}

// Element index in storage; its quotient by four is the word in a packed int8 layout.
int layout_address(const int code, const ivec4 dims, const ivec4 at) {
    int block = 0;
    [[unroll]] for (int position = 3; position >= 0; position--) {
        int axis = (code >> (2 * position)) & 3;
        block = block * layout_blocks(code, dims, axis) + at[axis] / layout_block_of(code, axis);
    }
    int lane = at[layout_inner(code)] % layout_inner_block(code);
    lane += at[layout_outer(code)] % layout_outer_block(code) * layout_inner_block(code);
    return block * (layout_inner_block(code) * layout_outer_block(code)) + lane;
}

// The element (n, c, h, w) that lies at an index: the inverse, which also names padding elements.
ivec4 layout_position(const int code, const ivec4 dims, const int address) {
    int block = address / (layout_inner_block(code) * layout_outer_block(code));
    ivec4 at = ivec4(0);
    [[unroll]] for (int position = 0; position < 4; position++) {
        int axis = (code >> (2 * position)) & 3;
        int blocks = layout_blocks(code, dims, axis);
        int outside = position == 3 ? 0 : divide(block, blocks);
        at[axis] = (block - outside * blocks) * layout_block_of(code, axis);
        block = outside;
    }
    at[layout_inner(code)] += address % layout_inner_block(code);
    at[layout_outer(code)] += address / layout_inner_block(code) % layout_outer_block(code);
    return at;
}

// layout_address and layout_position for words of four channels in a channel-packed layout, written
// out: Mesa 22.3 does not always unroll the loops there, and each of their turns divides.

int channel_word_address(const int code, const ivec4 dims, int n, int channel_word, int h, int w) {
    int words = layout_blocks(code, dims, 1);
    int row = n * dims.z + h;
    if (layout_outer_block(code) == 4) {  // 4W4C
        int block = w / 4;
        return w + 4 * ((row * layout_blocks(code, dims, 3) + block) * words + channel_word - block);
    }
    return (code & 3) == 3 ? (row * words + channel_word) * dims.w + w   // 4C1W
                           : (row * dims.w + w) * words + channel_word;  // 4C
}

// (n, first channel, h, w) of a word.
ivec4 channel_word_position(const int code, const ivec4 dims, int word) {
    const bool by_blocks = layout_outer_block(code) == 4;
    const bool columns_first = !by_blocks && (code & 3) == 3;
    int words = layout_blocks(code, dims, 1);
    int columns = layout_blocks(code, dims, 3);
    int inner = columns_first ? columns : words;
    int middle = columns_first ? words : columns;
    int block = by_blocks ? word / 4 : word;
    int outside = divide(block, inner);
    int first = block - outside * inner;
    int row = divide(outside, middle);
    int second = outside - row * middle;
    int n = divide(row, dims.z);
    ivec4 at = ivec4(n, 4 * first, row - n * dims.z, second);
    if (columns_first) at.yw = ivec2(4 * second, first);
    if (by_blocks) at.w = 4 * second + word % 4;
    return at;
}

// Words from one channel word of a pixel to the next.
int channel_word_stride(const int code, const ivec4 dims) {
    return channel_word_address(code, dims, 0, 1, 0, 0);
}

// Words that a tensor takes in a packed layout.
int layout_words(const int code, const ivec4 dims) {
    int blocks = 1;
    [[unroll]] for (int axis = 0; axis < 4; axis++) {
        blocks *= layout_blocks(code, dims, axis);
    }
    return blocks * layout_inner_block(code) * layout_outer_block(code) / 4;
}

#endif
