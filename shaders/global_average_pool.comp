// Mean over height and width, from sums in int32: of one word of four channels by a workgroup, or,
// where many lanes of few pixels cost more than they save, by one invocation.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "lane_sums.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 3) const bool ALONE = false;

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

void store_mean(int n, int channel_word, ivec4 sum) {
    ivec4 parameters = channel[0];
    ivec4 lanes;
    [[unroll]] for (int j = 0; j < 4; j++) {
        lanes[j] = requantize(sum[j] + parameters.x, parameters, output_zero_point, clamp_low,
                              clamp_high);
    }
    output_words[channel_word_address(OUTPUT_LAYOUT, ivec4(batch, channels, 1, 1), n, channel_word,
                                      0, 0)] = pack_int8(lanes);
}

int word_at(int n, int channel_word, int h, int w) {
    ivec4 dims = ivec4(batch, channels, height, width);
    return input_words[channel_word_address(INPUT_LAYOUT, dims, n, channel_word, h, w)];
}

void sum_alone() {
    int channel_word = int(gl_GlobalInvocationID.x);
    int n = int(gl_WorkGroupID.y);
    if (channel_word >= (channels + 3) / 4) return;
    ivec4 sum = ivec4(0);
    for (int h = 0; h < height; h++) {
        for (int w = 0; w < width; w++) sum += unpack_int8(word_at(n, channel_word, h, w));
    }
    store_mean(n, channel_word, sum);
}

void sum_together() {
    int lane = int(gl_LocalInvocationID.x);
    int channel_word = int(gl_WorkGroupID.x);
    int n = int(gl_WorkGroupID.y);
    ivec4 sum = ivec4(0);
    for (int pixel = lane; pixel < height * width; pixel += 64) {
        sum += unpack_int8(word_at(n, channel_word, pixel / width, pixel % width));
    }
    ivec4 total = sum_of_lanes(sum);
    if (lane == 0) store_mean(n, channel_word, total);
}

void main() {
    if (ALONE) {
        sum_alone();
    } else {
        sum_together();
    }
}
