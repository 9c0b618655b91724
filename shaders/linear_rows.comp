// Fully connected layer for few rows: one invocation computes four output channels of one row,
// lanes run over output channels, weights lie as [word k][output word].
#version 450
#pragma variants DOT plain signed mixed
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d.glsl"

layout(constant_id = 5) const int WEIGHT_PARTS = 1;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Weights { ivec4 weight_words[]; };
layout(set = 0, binding = 3) readonly buffer Channels { ivec4 channels[]; };

void main() {
    int out_words = (out_channels + 3) / 4;
    int out_word = int(gl_GlobalInvocationID.x);
    int n = int(gl_WorkGroupID.y);
    if (out_word >= out_words) return;
    int first = channel_word_address(INPUT_LAYOUT, input_dims(), n, 0, 0, 0);
    int stride = channel_word_stride(INPUT_LAYOUT, input_dims());
    ivec4 accumulator = ivec4(0);
    int weight = out_word;
    for (int part = 0; part < WEIGHT_PARTS; part++) {
        for (int k = 0; k < input_words_per_pixel(); k++) {
            ACTIVATION x = prepare_activation(input_words[first + k * stride]);
            ivec4 words = weight_words[weight];
            accumulator += ivec4(dot4(x, prepare_weight(words.x)), dot4(x, prepare_weight(words.y)),
                                 dot4(x, prepare_weight(words.z)), dot4(x, prepare_weight(words.w)));
            weight += out_words;
        }
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
