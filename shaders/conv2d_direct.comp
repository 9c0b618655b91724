// Convolution straight from the input tensor: loops over taps, then over words of input channels.
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

int images[TILE_PIXELS];
ivec2 origins[TILE_PIXELS];  // (h, w) of the first tap
int addresses[TILE_PIXELS];  // of the next word; one that exists, even where the tap is outside
int inside;  // bit p: whether the tap lies inside the image

void locate_pixels() {
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        Pixel pixel = pixel_of(clamped_pixel(p));
        images[p] = pixel.n;
        origins[p] = ivec2(pixel.oh * stride_height - padding_top,
                           pixel.ow * stride_width - padding_left);
    }
}

void locate_tap(ivec4 dims, ivec2 offset, int first_word, int first_offset) {
    inside = 0;
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        ivec2 at = origins[p] + offset;
        bool here = at.x >= 0 && at.x < dims.z && at.y >= 0 && at.y < dims.w;
        int address = channel_word_address(INPUT_LAYOUT, dims, images[p], first_word, at.x, at.y);
        addresses[p] = (here ? address : 0) + first_offset;
        inside |= here ? 1 << p : 0;
    }
}

// Parameters are read before the loops: a CPU reads them again at each turn otherwise.
void add_taps(int tile) {
    ivec4 dims = input_dims();
    ivec2 dilation = ivec2(dilation_height, dilation_width);
    ivec2 kernel = ivec2(kernel_height, kernel_width);
    ivec2 own = own_words(block_words);
    int other_words = (block_words - own.y + own.x) * TILE_WORDS;  // of weights, per tap
    int zero_word = input_zero_word;
    int first_word = first_input_word(tile, TILE_WORDS);
    int stride = channel_word_stride(INPUT_LAYOUT, dims);
    ivec2 offsets = own * stride;
    int taps = WEIGHT_PARTS * kernel.x * kernel.y;
    int weight = (tile * taps * block_words + own.x) * TILE_WORDS;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int tap_h = 0; tap_h < kernel.x; tap_h++) {
            for (int tap_w = 0; tap_w < kernel.y; tap_w++) {
                locate_tap(dims, ivec2(tap_h, tap_w) * dilation, first_word, offsets.x);
                for (int offset = offsets.x; offset < offsets.y; offset += stride) {
                    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
                        int word = input_words[addresses[p]];
                        addresses[p] += stride;
                        activations[p] = prepare_activation((inside & 1 << p) != 0 ? word : zero_word);
                    }
                    accumulate(weight);
                    weight += TILE_WORDS;
                }
                weight += other_words;
            }
        }
    }
}

void main() {
    int tile = int(gl_WorkGroupID.y);
    if (is_idle()) return;
    locate_pixels();
    locate_outputs(tile);
    clear_tile();
    add_taps(tile);
    finish_sums();
    store_part(tile);
}
