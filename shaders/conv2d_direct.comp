// Convolution straight from the input tensor: loops over taps, then over words of input channels.
#version 450
#pragma variants DOT plain signed mixed
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "conv2d_tile.glsl"

int origins_h[TILE_PIXELS];
int origins_w[TILE_PIXELS];
int images[TILE_PIXELS];
int addresses[TILE_PIXELS];  // -1 where the tap lies outside the image

void locate(int tap_h, int tap_w, int first_word) {
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        int h = origins_h[p] + tap_h * dilation_height;
        int w = origins_w[p] + tap_w * dilation_width;
        bool inside = h >= 0 && h < in_height && w >= 0 && w < in_width;
        addresses[p] = inside ? channel_word_address(INPUT_LAYOUT, input_dims(), images[p],
                                                     first_word, h, w)
                              : -1;
    }
}

void main() {
    int tile = int(gl_WorkGroupID.y);
    if (tile_pixel(0) >= pixel_count) return;
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        Pixel pixel = pixel_at(clamped_pixel(p));
        images[p] = pixel.n;
        origins_h[p] = pixel.oh * stride_height - padding_top;
        origins_w[p] = pixel.ow * stride_width - padding_left;
    }
    int first_word = first_input_word(tile, TILE_WORDS);
    int stride = channel_word_stride(INPUT_LAYOUT, input_dims());
    int weight = tile * WEIGHT_PARTS * kernel_height * kernel_width * block_words * TILE_WORDS;
    clear_tile();
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int tap_h = 0; tap_h < kernel_height; tap_h++) {
            for (int tap_w = 0; tap_w < kernel_width; tap_w++) {
                locate(tap_h, tap_w, first_word);
                for (int i = 0; i < block_words; i++) {
                    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
                        int word = input_words[max(addresses[p] + i * stride, 0)];
                        activations[p] =
                            prepare_activation(addresses[p] < 0 ? input_zero_word : word);
                    }
                    accumulate(weight);
                    weight += TILE_WORDS;
                }
            }
        }
    }
    store_tile(tile);
}
