// Depthwise convolution: each channel on its own; one invocation computes one word of channels
// at TILE_PIXELS pixels. The four bytes of a word never mix, so no dot product is of use.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"

layout(constant_id = 3) const int TILE_PIXELS = 4;
layout(constant_id = 5) const int WEIGHT_PARTS = 1;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Weights { int weight_words[]; };
layout(set = 0, binding = 3) readonly buffer Channels { ivec4 channels[]; };

int tile_pixel(int p) {
    return int(gl_WorkGroupID.x) * 64 * TILE_PIXELS + p * 64 + int(gl_LocalInvocationID.x);
}

int read_tap(Pixel pixel, int channel_word, int tap_h, int tap_w) {
    int h = pixel.oh * stride_height - padding_top + tap_h * dilation_height;
    int w = pixel.ow * stride_width - padding_left + tap_w * dilation_width;
    bool inside = h >= 0 && h < in_height && w >= 0 && w < in_width;
    int address = channel_word_address(INPUT_LAYOUT, input_dims(), pixel.n, channel_word, h, w);
    int word = input_words[inside ? address : 0];
    return inside ? word : input_zero_word;
}

void main() {
    int channel_word = int(gl_WorkGroupID.y);
    if (tile_pixel(0) >= pixel_count) return;
    Pixel pixels[TILE_PIXELS];
    ivec4 accumulators[TILE_PIXELS];
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        pixels[p] = pixel_at(first_pixel + min(tile_pixel(p), pixel_count - 1));
        accumulators[p] = ivec4(0);
    }
    int weight = channel_word * WEIGHT_PARTS * kernel_height * kernel_width;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int tap_h = 0; tap_h < kernel_height; tap_h++) {
            for (int tap_w = 0; tap_w < kernel_width; tap_w++) {
                ivec4 lanes = unpack_int8(weight_words[weight++]);
                [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
                    int word = read_tap(pixels[p], channel_word, tap_h, tap_w);
                    accumulators[p] += unpack_int8(word) * lanes;
                }
            }
        }
    }
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        ivec4 lanes;
        [[unroll]] for (int j = 0; j < 4; j++) {
            ivec4 channel = channels[4 * channel_word + j];
            lanes[j] = requantize(accumulators[p][j] + channel.x, channel, output_zero_point,
                                  clamp_low, clamp_high);
        }
        if (tile_pixel(p) < pixel_count) {
            output_words[channel_word_address(OUTPUT_LAYOUT, output_dims(), pixels[p].n,
                                              channel_word, pixels[p].oh, pixels[p].ow)] =
                pack_int8(lanes);
        }
    }
}
