// Adds up the parts of K that other kernels wrote to scratch, exactly, and requantises.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "conv2d_address.glsl"
#include "epilogue.glsl"

layout(constant_id = 32) const int SPLITS_K = 2;
// Sums lie as [part][channel word][pixel]; else channel words vary fastest, as outputs do in 4C.
layout(constant_id = 33) const bool PIXELS_FASTEST = false;

layout(set = 0, binding = 0) readonly buffer Scratch { ivec4 partial_sums[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Channels { ivec4 channels[]; };

void main() {
    int out_words = (out_channels + 3) / 4;
    int index = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (index >= pixel_count * out_words) return;
    int row = divide(index, PIXELS_FASTEST ? pixel_count : out_words);
    int word = PIXELS_FASTEST ? row : index - row * out_words;
    ivec4 sum = ivec4(0);
    for (int split = 0; split < SPLITS_K; split++) {
        sum += partial_sums[split * pixel_count * out_words + index];
    }
    ivec4 lanes;
    [[unroll]] for (int j = 0; j < 4; j++) {
        ivec4 channel = channels[4 * word + j];
        lanes[j] = requantize(sum[j] + channel.x, channel, output_zero_point, clamp_low,
                              clamp_high);
    }
    int pixel = first_pixel + (PIXELS_FASTEST ? index - row * pixel_count : row);
    int address = pixel * stored_words + first_stored_word + word;
    int other = pixel * out_words + word;
    if (PIXELS_FASTEST) {
        Pixel at = pixel_of(pixel);
        address = stored_address(at.n, word, at.oh, at.ow);
        other = other_address(at.n, word, at.oh, at.ow);
    }
    output_words[address] = finished_word(lanes, other);
}
