// Convolution as a matrix product whose columns are gathered as they are needed: a workgroup
// gathers the next input words of its pixels into shared memory, once for all of its output
// channels.
#version 450
#pragma variants DOT plain signed mixed
#extension GL_GOOGLE_include_directive : require
#define TILES_SHARE_PIXELS
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "conv2d_address.glsl"
#include "conv2d_tile.glsl"
#include "conv2d_split.glsl"

layout(constant_id = 14) const int CHUNK_WORDS = 16;  // of a tap in shared memory at once

const int WORD_LANES = 64 / PIXEL_LANES;
const int PIXELS = PIXEL_LANES * TILE_PIXELS;      // of a workgroup
const int STEP = PIXELS < 64 ? 64 / PIXELS : 1;    // words gathered side by side
const int PASSES = PIXELS < 64 ? 1 : PIXELS / 64;  // pixels that a lane gathers for

shared int columns[CHUNK_WORDS * PIXELS];

int images[PASSES];
ivec2 origins[PASSES];  // (h, w) of the first tap
int addresses[PASSES];  // of the tap's first word, below zero outside the image

int gathered_pixel(int pass) { return pass * 64 + int(gl_LocalInvocationID.x) % PIXELS; }

void locate_pixels() {
    [[unroll]] for (int pass = 0; pass < PASSES; pass++) {
        int number = int(gl_WorkGroupID.x) * PIXELS + gathered_pixel(pass);
        Pixel pixel = pixel_of(first_pixel + min(number, pixel_count - 1));
        images[pass] = pixel.n;
        origins[pass] = ivec2(pixel.oh * stride_height - padding_top,
                              pixel.ow * stride_width - padding_left);
    }
}

void locate_tap(ivec4 dims, ivec2 offset) {
    [[unroll]] for (int pass = 0; pass < PASSES; pass++) {
        ivec2 at = origins[pass] + offset;
        bool here = at.x >= 0 && at.x < dims.z && at.y >= 0 && at.y < dims.w;
        int address = channel_word_address(INPUT_LAYOUT, dims, images[pass], 0, at.x, at.y);
        addresses[pass] = here ? address : -1;
    }
}

void gather(int first, int words, int stride) {
    for (int k = int(gl_LocalInvocationID.x) / PIXELS; k < words; k += STEP) {
        [[unroll]] for (int pass = 0; pass < PASSES; pass++) {
            bool here = addresses[pass] >= 0;
            int word = input_words[here ? addresses[pass] + (first + k) * stride : 0];
            columns[k * PIXELS + gathered_pixel(pass)] = here ? word : input_zero_word;
        }
    }
}

// Adds up words first ... of a tap; all lanes of the workgroup come here together.
void add_words(int first, int words, int stride, int weight) {
    barrier();
    gather(first, words, stride);
    barrier();
    int lane = int(gl_LocalInvocationID.x) % PIXEL_LANES;
    for (int k = 0; k < words; k++) {
        [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
            activations[p] = prepare_activation(columns[k * PIXELS + p * PIXEL_LANES + lane]);
        }
        accumulate(weight + k * TILE_WORDS);
    }
}

void add_taps(int tile) {
    ivec4 dims = input_dims();
    int stride = channel_word_stride(INPUT_LAYOUT, dims);
    ivec2 own = own_words(block_words);
    int words = block_words * TILE_WORDS;  // of weights, per tap
    int weight = tile * WEIGHT_PARTS * kernel_height * kernel_width * words;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int tap_h = 0; tap_h < kernel_height; tap_h++) {
            for (int tap_w = 0; tap_w < kernel_width; tap_w++) {
                locate_tap(dims, ivec2(tap_h * dilation_height, tap_w * dilation_width));
                for (int first = own.x; first < own.y; first += CHUNK_WORDS) {
                    int count = min(CHUNK_WORDS, own.y - first);
                    add_words(first, count, stride, weight + first * TILE_WORDS);
                }
                weight += words;
            }
        }
    }
}

void main() {
    int tile = int(gl_WorkGroupID.y) * WORD_LANES + int(gl_LocalInvocationID.x) / PIXEL_LANES;
    int tiles = ((out_channels + 3) / 4 + TILE_WORDS - 1) / TILE_WORDS;
    locate_pixels();
    locate_outputs(tile);
    clear_tile();
    add_taps(min(tile, tiles - 1));
    finish_sums();
    if (tile < tiles) store_part(tile);
}
