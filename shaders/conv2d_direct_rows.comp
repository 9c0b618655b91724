// Convolution of few channels: one invocation computes TILE_PIXELS neighbours of a row, so that a
// word of input is read once per row of the kernel; and the bytes of a row's taps lie densely,
// with no fourth channel between those of three.
#version 450
#pragma variants DOT plain signed mixed lanes float
#extension GL_GOOGLE_include_directive : require
#define TILES_WITHIN_ROWS
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "conv2d_address.glsl"
#include "conv2d_tile.glsl"

layout(constant_id = 8) const int KERNEL_WIDTH = 7;
layout(constant_id = 9) const int STRIDE_WIDTH = 2;
layout(constant_id = 12) const int CHANNELS = 3;
layout(constant_id = 13) const bool UNROLLS = true;  // a row of the kernel

const int ROUNDS = (KERNEL_WIDTH * CHANNELS + 3) / 4;  // words of four products of a row
const int STEP_BYTES = STRIDE_WIDTH * CHANNELS;        // from one pixel's taps to the next one's
const int READ_PIXELS = (TILE_PIXELS - 1) * STRIDE_WIDTH + KERNEL_WIDTH;
const int WINDOW_WORDS = (TILE_PIXELS - 1) * STEP_BYTES / 4 + ROUNDS + 1;

int window[WINDOW_WORDS];  // what a row of the kernel reads, CHANNELS bytes per pixel

void place(const int x, int word) {
    const int first_byte = x * CHANNELS;
    const int shift = first_byte % 4 * 8;
    if (CHANNELS < 4) word &= (1 << CHANNELS * 8 % 32) - 1;
    window[first_byte / 4] |= word << shift;
    if (shift + CHANNELS * 8 > 32) window[first_byte / 4 + 1] |= int(uint(word) >> 32 - shift);
}

void read_row(int row_address, int first_w, int width, bool inside, int zero_word) {
    [[unroll]] for (int i = 0; i < WINDOW_WORDS; i++) window[i] = 0;
    [[unroll]] for (int x = 0; x < READ_PIXELS; x++) {
        int w = first_w + x;
        bool here = inside && w >= 0 && w < width;
        int word = input_words[here ? row_address + w : 0];
        place(x, here ? word : zero_word);
    }
}

// Adds the products of words `round` ... of all pixels' windows.
void add_round(const int round, int weight) {
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        const int at = p * STEP_BYTES / 4 + round;
        const int shift = p * STEP_BYTES % 4 * 8;
        int word = window[at];
        if (shift > 0) word = int(uint(word) >> shift) | window[at + 1] << 32 - shift;
        activations[p] = prepare_activation(word);
    }
    accumulate(weight);
}

void add_row(int weight) {
    if (UNROLLS) {
        [[unroll]] for (int i = 0; i < ROUNDS; i++) add_round(i, weight + i * TILE_WORDS);
        return;
    }
    [[dont_unroll]] for (int i = 0; i < ROUNDS; i++) {
        add_round(0, weight + i * TILE_WORDS);
        [[unroll]] for (int j = 1; j < WINDOW_WORDS; j++) window[j - 1] = window[j];
    }
}

// Parameters are read before the loops: a CPU reads them again at each turn otherwise.
void add_rows(int tile, Pixel first) {
    ivec4 dims = input_dims();
    int zero_word = input_zero_word;
    int rows = kernel_height;
    int row_step = dilation_height;
    int first_h = first.oh * stride_height - padding_top;
    int first_w = first.ow * STRIDE_WIDTH - padding_left;
    int weight = tile * WEIGHT_PARTS * rows * ROUNDS * TILE_WORDS;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        int h = first_h;
        for (int row = 0; row < rows; row++) {
            int address = channel_word_address(INPUT_LAYOUT, dims, first.n, 0, h, 0);
            read_row(address, first_w, dims.w, h >= 0 && h < dims.z, zero_word);
            add_row(weight);
            weight += ROUNDS * TILE_WORDS;
            h += row_step;
        }
    }
}

void main() {
    int tile = int(gl_WorkGroupID.y);
    if (is_idle()) return;
    locate_outputs(tile);
    clear_tile();
    add_rows(tile, pixel_of(clamped_pixel(0)));
    finish_sums();
    store_tile(tile);
}
