// Matrix product of activations and weights: a pointwise convolution read from the input tensor,
// or any convolution read from the scratch matrix that conv2d_im2col made (word k, then pixel).
#version 450
#pragma variants DOT plain signed mixed
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "conv2d_tile.glsl"

layout(constant_id = 6) const bool FROM_SCRATCH = false;

int addresses[TILE_PIXELS];

void main() {
    int tile = int(gl_WorkGroupID.y);
    if (tile_pixel(0) >= pixel_count) return;
    int first_word = first_input_word(tile, TILE_WORDS);
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        Pixel pixel = pixel_at(clamped_pixel(p));
        addresses[p] = FROM_SCRATCH
            ? first_word * pixel_count + clamped_pixel(p) - first_pixel
            : channel_word_address(INPUT_LAYOUT, input_dims(), pixel.n, first_word,
                                   pixel.oh * stride_height, pixel.ow * stride_width);
    }
    int stride = FROM_SCRATCH ? pixel_count : channel_word_stride(INPUT_LAYOUT, input_dims());
    int taps = kernel_height * kernel_width;
    int weight = tile * WEIGHT_PARTS * taps * block_words * TILE_WORDS;
    clear_tile();
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int tap = 0; tap < taps; tap++) {
            int offset = tap * input_words_per_pixel() * stride;
            for (int i = 0; i < block_words; i++) {
                [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
                    activations[p] = prepare_activation(input_words[addresses[p] + offset]);
                }
                accumulate(weight);
                weight += TILE_WORDS;
                offset += stride;
            }
        }
    }
    store_tile(tile);
}
