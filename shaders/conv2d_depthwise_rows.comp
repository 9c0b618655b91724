// Depthwise convolution: one invocation computes one word of channels at TILE_PIXELS neighbours of
// a row, so that a word of input is read once per row of the kernel and used at every tap of it.
#version 450
#pragma variants DOT plain lanes
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "conv2d_address.glsl"
#include "epilogue.glsl"

layout(constant_id = 3) const int TILE_PIXELS = 4;
layout(constant_id = 5) const int WEIGHT_PARTS = 1;
layout(constant_id = 8) const int KERNEL_WIDTH = 3;
layout(constant_id = 9) const int STRIDE_WIDTH = 1;

layout(set = 0, binding = 0) restrict readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) restrict writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) restrict readonly buffer Weights { int weight_words[]; };
layout(set = 0, binding = 3) restrict readonly buffer Channels { ivec4 channels[]; };

const int READ_PIXELS = (TILE_PIXELS - 1) * STRIDE_WIDTH + KERNEL_WIDTH;

ivec4 accumulators[TILE_PIXELS];
ivec4 weights[KERNEL_WIDTH];
ivec4 channel_parameters[4];

// With DOT_LANES, lanes load for each other: see conv2d_tile.glsl.
void read_weights(int first) {
#if defined(DOT_LANES)
    int own = weight_words[first + min(int(gl_SubgroupInvocationID), KERNEL_WIDTH - 1)];
    [[unroll]] for (int tap = 0; tap < KERNEL_WIDTH; tap++) {
        weights[tap] = unpack_int8(subgroupShuffle(own, uint(tap)));
    }
#else
    [[unroll]] for (int tap = 0; tap < KERNEL_WIDTH; tap++) {
        weights[tap] = unpack_int8(weight_words[first + tap]);
    }
#endif
}

void read_channels(int channel_word) {
#if defined(DOT_LANES)
    ivec4 own = channels[4 * channel_word + (int(gl_SubgroupInvocationID) & 3)];
    [[unroll]] for (int j = 0; j < 4; j++) channel_parameters[j] = subgroupShuffle(own, uint(j));
#else
    [[unroll]] for (int j = 0; j < 4; j++) channel_parameters[j] = channels[4 * channel_word + j];
#endif
}

// Parameters are read before the loops: a CPU reads them again at each turn otherwise.
void add_taps(int channel_word, Pixel first) {
    ivec4 dims = input_dims();
    int zero_word = input_zero_word;
    int rows = kernel_height;
    int row_step = dilation_height;
    int first_h = first.oh * stride_height - padding_top;
    int first_w = first.ow * STRIDE_WIDTH - padding_left;
    int weight = channel_word * WEIGHT_PARTS * rows * KERNEL_WIDTH;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        int h = first_h;
        for (int row = 0; row < rows; row++) {
            read_weights(weight);
            bool row_inside = h >= 0 && h < dims.z;
            [[unroll]] for (int x = 0; x < READ_PIXELS; x++) {
                int w = first_w + x;
                bool inside = row_inside && w >= 0 && w < dims.w;
                int address = channel_word_address(INPUT_LAYOUT, dims, first.n, channel_word, h, w);
                int word = input_words[inside ? address : 0];
                word = inside ? word : zero_word;
                ivec4 values = unpack_activation(prepare_activation(word));
                [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
                    int tap = x - p * STRIDE_WIDTH;
                    if (tap >= 0 && tap < KERNEL_WIDTH) accumulators[p] += values * weights[tap];
                }
            }
            weight += KERNEL_WIDTH;
            h += row_step;
        }
    }
}

int requantized(ivec4 sums, int lane) {
    ivec4 channel = channel_parameters[lane];
    return requantize(sums[lane] + channel.x, channel, output_zero_point, clamp_low, clamp_high);
}

void main() {
    int channel_word = int(gl_WorkGroupID.y);
    int tiles_per_row = (out_width + TILE_PIXELS - 1) / TILE_PIXELS;
    int tiles = batch * out_height * tiles_per_row;
    int first_tile = int(gl_WorkGroupID.x) * 64;
    int tile = first_tile + int(gl_LocalInvocationID.x);
#if defined(DOT_LANES)
    int size = int(gl_SubgroupSize);
    if (int(gl_LocalInvocationID.x) >= (tiles - first_tile + size - 1) / size * size) return;
#else
    if (tile >= tiles) return;
#endif
    int number = min(tile, tiles - 1);
    int row = divide(number, tiles_per_row);
    int image = ONE_IMAGE ? 0 : divide(row, out_height);
    Pixel first = Pixel(image, row - image * out_height,
                        (number - row * tiles_per_row) * TILE_PIXELS);
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) accumulators[p] = ivec4(0);
    add_taps(channel_word, first);
    read_channels(channel_word);
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        ivec4 sums = accumulators[p];
        ivec4 lanes = ivec4(requantized(sums, 0), requantized(sums, 1), requantized(sums, 2),
                            requantized(sums, 3));
        if (tile < tiles && first.ow + p < out_width) {
            int ow = first.ow + p;
            output_words[stored_address(first.n, channel_word, first.oh, ow)] =
                finished_word(lanes, other_address(first.n, channel_word, first.oh, ow));
        }
    }
}
