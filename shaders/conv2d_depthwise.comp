// Depthwise convolution: each channel on its own; one invocation computes one word of channels
// at TILE_PIXELS pixels. The four bytes of a word never mix, so no dot product is of use.
#version 450
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
// Neighbouring lanes take neighbouring channels, as they lie in layout 4C; else pixels.
layout(constant_id = 6) const bool LANES_OVER_CHANNELS = false;

layout(set = 0, binding = 0) restrict readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) restrict writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) restrict readonly buffer Weights { int weight_words[]; };
layout(set = 0, binding = 3) restrict readonly buffer Channels { ivec4 channels[]; };

Pixel pixels[TILE_PIXELS];
ivec4 accumulators[TILE_PIXELS];

int read_tap(int p, int channel_word, ivec4 dims, ivec2 offset, int zero_word) {
    int h = pixels[p].oh * stride_height + offset.x;
    int w = pixels[p].ow * stride_width + offset.y;
    bool inside = h >= 0 && h < dims.z && w >= 0 && w < dims.w;
    int address = channel_word_address(INPUT_LAYOUT, dims, pixels[p].n, channel_word, h, w);
    int word = input_words[inside ? address : 0];
    return inside ? word : zero_word;
}

// Parameters are read before the loops: a CPU reads them again at each turn otherwise.
void add_taps(int channel_word) {
    ivec4 dims = input_dims();
    ivec2 first = -ivec2(padding_top, padding_left);
    ivec2 dilation = ivec2(dilation_height, dilation_width);
    ivec2 kernel = ivec2(kernel_height, kernel_width);
    int zero_word = input_zero_word;
    int weight = channel_word * WEIGHT_PARTS * kernel.x * kernel.y;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int tap_h = 0; tap_h < kernel.x; tap_h++) {
            for (int tap_w = 0; tap_w < kernel.y; tap_w++) {
                ivec4 lanes = unpack_int8(weight_words[weight++]);
                ivec2 offset = first + ivec2(tap_h, tap_w) * dilation;
                [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
                    int word = read_tap(p, channel_word, dims, offset, zero_word);
                    accumulators[p] += unpack_int8(word) * lanes;
                }
            }
        }
    }
}

int requantized(ivec4 sums, int lane, ivec4 channel) {
    return requantize(sums[lane] + channel.x, channel, output_zero_point, clamp_low, clamp_high);
}

void main() {
    int channel_word = int(gl_WorkGroupID.y);
    int numbers[TILE_PIXELS];
    if (LANES_OVER_CHANNELS) {
        int words = (out_channels + 3) / 4;
        int group = int(gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);
        int index = group * 64 + int(gl_LocalInvocationID.x);
        int tile = index / words;
        if (tile * TILE_PIXELS >= pixel_count) return;
        channel_word = index - tile * words;
        [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) numbers[p] = tile * TILE_PIXELS + p;
    } else {
        if (is_idle(TILE_PIXELS)) return;
        [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) numbers[p] = pixel_number(TILE_PIXELS, p);
    }
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        pixels[p] = pixel_of(first_pixel + min(numbers[p], pixel_count - 1));
        accumulators[p] = ivec4(0);
    }
    add_taps(channel_word);
    ivec4 c0 = channels[4 * channel_word];
    ivec4 c1 = channels[4 * channel_word + 1];
    ivec4 c2 = channels[4 * channel_word + 2];
    ivec4 c3 = channels[4 * channel_word + 3];
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        Pixel at = pixels[p];
        ivec4 sums = accumulators[p];
        ivec4 lanes = ivec4(requantized(sums, 0, c0), requantized(sums, 1, c1),
                            requantized(sums, 2, c2), requantized(sums, 3, c3));
        if (numbers[p] < pixel_count) {
            output_words[stored_address(at.n, channel_word, at.oh, at.ow)] =
                finished_word(lanes, other_address(at.n, channel_word, at.oh, at.ow));
        }
    }
}
