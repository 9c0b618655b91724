// Where the element (n, c, h, w) of a tensor lies in each layout: the twin of vkbackend/layouts.py.
// `code` is Layout.code there, always a specialisation constant here, so that all of this folds.
#ifndef LAYOUT_GLSL
#define LAYOUT_GLSL

// a / b for 0 <= a, 0 < b, exactly: the first estimate is off by less than 2^9, the second by one
// at most. A CPU divides integers one lane after the other; a GPU does about the same as this.
int divide(int a, int b) {
    float divisor = float(b);
    int estimate = int(float(a) / divisor);
    estimate += int(float(a - estimate * b) / divisor);
    int rest = a - estimate * b;
    return estimate + int(rest >= b) - int(rest < 0);
}

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

// Word of four channels at `channel_word` in a channel-packed layout (4C, 4C1W, 4W4C).
int channel_word_address(const int code, const ivec4 dims, int n, int channel_word, int h, int w) {
    return layout_address(code, dims, ivec4(n, 4 * channel_word, h, w)) / 4;
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

// The same written out for the layouts that hold words of four channels: Mesa 22.3 does not always
// unroll the loops above, and each of their turns divides.
int word_address(const int code, const ivec4 dims, int n, int channel_word, int h, int w) {
    int words = layout_blocks(code, dims, 1);
    int row = n * dims.z + h;
    if (layout_outer_block(code) == 4) {  // 4W4C
        int block = w / 4;
        return w + 4 * ((row * layout_blocks(code, dims, 3) + block) * words + channel_word - block);
    }
    return (code & 3) == 3 ? (row * words + channel_word) * dims.w + w   // 4C1W
                           : (row * dims.w + w) * words + channel_word;  // 4C
}

// Words from one channel word of a pixel to the next.
int word_stride(const int code, const ivec4 dims) { return word_address(code, dims, 0, 1, 0, 0); }

// (image, channel word, row, column) of a word: the inverse.
ivec4 word_position(const int code, const ivec4 dims, int word) {
    int words = layout_blocks(code, dims, 1);
    int columns = layout_blocks(code, dims, 3);
    const bool columns_last = (code & 3) == 3;  // 4C1W
    const int block_columns = layout_outer_block(code);
    int block = word / block_columns;
    int outside = divide(block, columns_last ? columns : words);
    int inside = block - outside * (columns_last ? columns : words);
    int row = divide(outside, columns_last ? words : columns);
    int between = outside - row * (columns_last ? words : columns);
    int column = (columns_last ? inside : between) * block_columns + word % block_columns;
    int image = divide(row, dims.z);
    return ivec4(image, columns_last ? between : inside, row - image * dims.z, column);
}

#endif
