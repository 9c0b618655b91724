// Mean over height and width: a workgroup sums one word of four channels exactly, in int32.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Channel { ivec4 channel[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
    int output_zero_point;
    int clamp_low;
    int clamp_high;
};

shared ivec4 partial_sums[64];

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int channel_word = int(gl_WorkGroupID.x);
    int n = int(gl_WorkGroupID.y);
    ivec4 dims = ivec4(batch, channels, height, width);
    ivec4 sum = ivec4(0);
    for (int pixel = lane; pixel < height * width; pixel += 64) {
        int address = channel_word_address(INPUT_LAYOUT, dims, n, channel_word, pixel / width,
                                           pixel % width);
        sum += unpack_int8(input_words[address]);
    }
    partial_sums[lane] = sum;
    barrier();
    if (lane != 0) return;
    // One barrier and a short loop: software devices pay for barriers, and GPUs hardly for this.
    ivec4 total = ivec4(channel[0].x);
    for (int i = 0; i < 64; i++) total += partial_sums[i];
    ivec4 lanes;
    [[unroll]] for (int j = 0; j < 4; j++) {
        lanes[j] = requantize(total[j], channel[0], output_zero_point, clamp_low, clamp_high);
    }
    output_words[channel_word_address(OUTPUT_LAYOUT, ivec4(batch, channels, 1, 1), n, channel_word,
                                      0, 0)] = pack_int8(lanes);
}
