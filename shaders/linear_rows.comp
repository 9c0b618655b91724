// Fully connected layer for few rows. Either one invocation computes four output channels of one
// row, and lanes run over output channels (weights lie as [word k][output word]), or a workgroup
// does, and lanes share K ([output word][word k]).
#version 450
#pragma variants DOT plain signed mixed
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"
#include "lane_sums.glsl"

layout(constant_id = 3) const bool LANES_SHARE_K = false;
layout(constant_id = 5) const int WEIGHT_PARTS = 1;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Weights { ivec4 weight_words[]; };
layout(set = 0, binding = 3) readonly buffer Channels { ivec4 channels[]; };

void main() {
    int out_words = (out_channels + 3) / 4;
    int out_word = int(LANES_SHARE_K ? gl_WorkGroupID.x : gl_GlobalInvocationID.x);
    int n = int(gl_WorkGroupID.y);
    if (out_word >= out_words) return;
    int words = input_words_per_pixel();
    int first = channel_word_address(INPUT_LAYOUT, input_dims(), n, 0, 0, 0);
    int stride = channel_word_stride(INPUT_LAYOUT, input_dims());
    int first_k = LANES_SHARE_K ? int(gl_LocalInvocationID.x) : 0;
    int step_k = LANES_SHARE_K ? 64 : 1;
    ivec4 accumulator = ivec4(0);
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int k = first_k; k < words; k += step_k) {
            ACTIVATION x = prepare_activation(input_words[first + k * stride]);
            int weight = LANES_SHARE_K ? (out_word * WEIGHT_PARTS + part) * words + k
                                       : (part * words + k) * out_words + out_word;
            ivec4 found = weight_words[weight];
            accumulator += ivec4(dot4(x, prepare_weight(found.x)), dot4(x, prepare_weight(found.y)),
                                 dot4(x, prepare_weight(found.z)), dot4(x, prepare_weight(found.w)));
        }
    }
    if (LANES_SHARE_K) {
        accumulator = sum_of_lanes(accumulator);
        if (gl_LocalInvocationID.x != 0) return;
    }
    ivec4 lanes;
    [[unroll]] for (int j = 0; j < 4; j++) {
        ivec4 channel = channels[4 * out_word + j];
        lanes[j] = requantize(accumulator[j] + channel.x, channel, output_zero_point, clamp_low,
                              clamp_high);
    }
    output_words[channel_word_address(OUTPUT_LAYOUT, output_dims(), n, out_word, 0, 0)] =
        pack_int8(lanes);
}
