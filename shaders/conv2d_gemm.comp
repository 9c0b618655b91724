// Matrix product of activations and weights: a pointwise convolution read from the input tensor,
// or any convolution read from the scratch matrix that conv2d_im2col made (word k, then pixel).
#version 450
#pragma variants DOT plain signed mixed lanes float
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "conv2d_address.glsl"
#include "conv2d_tile.glsl"
#include "conv2d_split.glsl"

layout(constant_id = 6) const bool FROM_SCRATCH = false;

int addresses[TILE_PIXELS];

void locate_pixels(int first_word) {
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        if (FROM_SCRATCH) {
            addresses[p] = first_word * pixel_count + clamped_pixel(p) - first_pixel;
        } else {
            Pixel pixel = pixel_of(clamped_pixel(p));
            addresses[p] = channel_word_address(INPUT_LAYOUT, input_dims(), pixel.n, first_word,
                                        pixel.oh * stride_height, pixel.ow * stride_width);
        }
    }
}

// Parameters are read before the loops: a CPU reads them again at each turn otherwise.
void add_products(int tile) {
    int stride = FROM_SCRATCH ? pixel_count : channel_word_stride(INPUT_LAYOUT, input_dims());
    int tap_stride = input_words_per_pixel() * stride;
    int taps = kernel_height * kernel_width;
    ivec2 own = own_words(block_words);
    int other_words = (block_words - own.y + own.x) * TILE_WORDS;  // of weights, per tap
    int weight = (tile * WEIGHT_PARTS * taps * block_words + own.x) * TILE_WORDS;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int tap = 0; tap < taps; tap++) {
            int first = tap * tap_stride;
            int end = first + own.y * stride;
            for (int offset = first + own.x * stride; offset < end; offset += stride) {
                [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
                    activations[p] = prepare_activation(input_words[addresses[p] + offset]);
                }
                accumulate(weight);
                weight += TILE_WORDS;
            }
            weight += other_words;
        }
    }
}

void main() {
    int tile = int(gl_WorkGroupID.y);
    if (is_idle()) return;
    locate_pixels(first_input_word(tile, TILE_WORDS));
    locate_outputs(tile);
    clear_tile();
    add_products(tile);
    finish_sums();
    store_part(tile);
}
