// Depthwise convolution by dot products along a row of the kernel: the words of neighbouring pixels
// are turned, so that one word holds a channel of four pixels, and meets a word of four taps.
//
// Words are turned in two steps, of which neighbours share the first: pairs of words into two words
// of two channels each, pairs of those into four words of one channel. An output whose first pixel
// is the second of its pair finds its taps a byte further on: weights are packed in both ways.
#version 450
#extension GL_GOOGLE_include_directive : require
#pragma variants DOT signed mixed
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "conv2d_address.glsl"
#include "epilogue.glsl"

layout(constant_id = 3) const int TILE_PIXELS = 4;
layout(constant_id = 5) const int WEIGHT_PARTS = 1;
// Neighbouring lanes take neighbouring channels, as they lie in layout 4C; else pixels.
layout(constant_id = 6) const bool LANES_OVER_CHANNELS = false;
layout(constant_id = 8) const int KERNEL_WIDTH = 3;
layout(constant_id = 9) const int STRIDE_WIDTH = 1;

layout(set = 0, binding = 0) restrict readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) restrict writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) restrict readonly buffer Weights { ivec4 weight_words[]; };
layout(set = 0, binding = 3) restrict readonly buffer Channels { ivec4 channels[]; };

const int READ_PIXELS = (TILE_PIXELS - 1) * STRIDE_WIDTH + KERNEL_WIDTH;
const int QUADS = (KERNEL_WIDTH + STRIDE_WIDTH % 2 + 3) / 4;  // of pixels, that an output sees
const int WAYS = 1 + STRIDE_WIDTH % 2;  // an odd stride begins at the second of a pair, too
const int READ_PAIRS = (READ_PIXELS + 1) / 2;

ivec4 accumulators[TILE_PIXELS];
uvec2 pairs[READ_PAIRS + 2 * QUADS];  // channels 0 and 2, and 1 and 3, of two pixels
ivec4 weights[WAYS * QUADS];     // of each channel, four taps

uint read_word(int channel_word, ivec4 dims, int n, int h, int w, bool row_inside) {
    bool inside = row_inside && w >= 0 && w < dims.w;
    int address = channel_word_address(INPUT_LAYOUT, dims, n, channel_word, h, w);
    int word = input_words[inside ? address : 0];
    return uint(prepare_activation(inside ? word : input_zero_word));
}

uvec2 pair_of(uint first, uint second) {
    const uint even = 0x00FF00FFu;
    return uvec2((first & even) | (second << 8 & ~even), (first >> 8 & even) | (second & ~even));
}

// The words of four channels, each of the four pixels of two pairs.
uvec4 quad_of(uvec2 first, uvec2 second) {
    uvec2 low = (first & 0xFFFFu) | second << 16;
    uvec2 high = first >> 16 | (second & 0xFFFF0000u);
    return uvec4(low.x, low.y, high.x, high.y);
}

void add_row(int channel_word, Pixel first, int h, int weight) {
    ivec4 dims = input_dims();
    int first_w = first.ow * STRIDE_WIDTH - padding_left;
    bool row_inside = h >= 0 && h < dims.z;
    [[unroll]] for (int i = 0; i < WAYS * QUADS; i++) weights[i] = weight_words[weight + i];
    uint words[2 * READ_PAIRS];
    [[unroll]] for (int x = 0; x < 2 * READ_PAIRS; x++) {
        words[x] = x < READ_PIXELS
                       ? read_word(channel_word, dims, first.n, h, first_w + x, row_inside)
                       : 0u;
    }
    [[unroll]] for (int i = 0; i < READ_PAIRS + 2 * QUADS; i++) {
        pairs[i] = i < READ_PAIRS ? pair_of(words[2 * i], words[2 * i + 1]) : uvec2(0);
    }
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        int x = p * STRIDE_WIDTH;
        [[unroll]] for (int q = 0; q < QUADS; q++) {
            uvec4 quad = quad_of(pairs[x / 2 + 2 * q], pairs[x / 2 + 2 * q + 1]);
            ivec4 taps = weights[x % 2 * QUADS + q];
            accumulators[p] += ivec4(dot4(ACTIVATION(quad.x), taps.x),
                                     dot4(ACTIVATION(quad.y), taps.y),
                                     dot4(ACTIVATION(quad.z), taps.z),
                                     dot4(ACTIVATION(quad.w), taps.w));
        }
    }
}

int requantized(ivec4 sums, int lane, ivec4 channel) {
    return requantize(sums[lane] + channel.x, channel, output_zero_point, clamp_low, clamp_high);
}

void store_pixels(int channel_word, Pixel first) {
    ivec4 c0 = channels[4 * channel_word];
    ivec4 c1 = channels[4 * channel_word + 1];
    ivec4 c2 = channels[4 * channel_word + 2];
    ivec4 c3 = channels[4 * channel_word + 3];
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        ivec4 sums = accumulators[p];
        ivec4 lanes = ivec4(requantized(sums, 0, c0), requantized(sums, 1, c1),
                            requantized(sums, 2, c2), requantized(sums, 3, c3));
        if (first.ow + p < out_width) {
            int ow = first.ow + p;
            output_words[stored_address(first.n, channel_word, first.oh, ow)] =
                finished_word(lanes, other_address(first.n, channel_word, first.oh, ow));
        }
    }
}

void main() {
    int channel_word = int(gl_WorkGroupID.y);
    int tile = int(gl_WorkGroupID.x * 64 + gl_LocalInvocationID.x);
    if (LANES_OVER_CHANNELS) {
        int out_words = (out_channels + 3) / 4;
        int index = int(gl_WorkGroupID.y * gl_NumWorkGroups.x) * 64 + tile;
        tile = index / out_words;
        channel_word = index - tile * out_words;
    }
    int tiles_per_row = (out_width + TILE_PIXELS - 1) / TILE_PIXELS;
    if (tile >= batch * out_height * tiles_per_row) return;
    int row = divide(tile, tiles_per_row);
    int image = divide(row, out_height);
    Pixel first = Pixel(image, row - image * out_height,
                        (tile - row * tiles_per_row) * TILE_PIXELS);
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) accumulators[p] = ivec4(0);
    int weight = channel_word * WEIGHT_PARTS * kernel_height * WAYS * QUADS;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        int h = first.oh * stride_height - padding_top;
        for (int tap_row = 0; tap_row < kernel_height; tap_row++) {
            add_row(channel_word, first, h, weight);
            weight += WAYS * QUADS;
            h += dilation_height;
        }
    }
    store_pixels(channel_word, first);
}
