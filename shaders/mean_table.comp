// Mean over height and width of a function of int8 values, then any rising function, quantised.
// Values are fixed-point numbers, whose sums are exact: a high part of 15 bits and a low one are
// summed apart. The result is the number of steps that the sum reaches, or the mean as float32
// (ops/mean_table.py).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 3) const bool QUANTIZES = true;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Values { int values[]; };
layout(set = 0, binding = 3) readonly buffer Steps { ivec2 steps[]; };  // high part, low part

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
    float high_scale;
    float low_scale;
};

shared ivec4 high_sums[64];
shared ivec4 low_sums[64];

bool reaches(ivec2 sum, ivec2 step_at) {
    return sum.x > step_at.x || (sum.x == step_at.x && sum.y >= step_at.y);
}

int quantize(int high, int low) {
    ivec2 sum = ivec2(high + (low >> 15), low & 0x7FFF);
    int reached = 0;
    [[unroll]] for (int size = 128; size > 0; size /= 2) {
        reached += reaches(sum, steps[reached + size - 1]) ? size : 0;
    }
    return reached - 128;
}

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int channel_word = int(gl_WorkGroupID.x);
    int n = int(gl_WorkGroupID.y);
    ivec4 dims = ivec4(batch, channels, height, width);
    ivec4 high = ivec4(0);
    ivec4 low = ivec4(0);
    for (int pixel = lane; pixel < height * width; pixel += 64) {
        int address = channel_word_address(INPUT_LAYOUT, dims, n, channel_word, pixel / width,
                                           pixel % width);
        ivec4 x = unpack_int8(input_words[address]) + 128;
        ivec4 value = ivec4(values[x.x], values[x.y], values[x.z], values[x.w]);
        high += value >> 15;
        low += value & 0x7FFF;
    }
    high_sums[lane] = high;
    low_sums[lane] = low;
    for (int half_count = 32; half_count > 0; half_count /= 2) {
        barrier();
        if (lane < half_count) {
            high_sums[lane] += high_sums[lane + half_count];
            low_sums[lane] += low_sums[lane + half_count];
        }
    }
    if (lane != 0) return;
    ivec4 out_dims = ivec4(batch, channels, 1, 1);
    ivec4 lanes;
    [[unroll]] for (int j = 0; j < 4; j++) {
        if (QUANTIZES) {
            lanes[j] = quantize(high_sums[0][j], low_sums[0][j]);
        } else if (4 * channel_word + j < channels) {
            precise float from_high = float(high_sums[0][j]) * high_scale;
            precise float from_low = float(low_sums[0][j]) * low_scale;
            precise float mean = from_high + from_low;
            ivec4 at = ivec4(n, 4 * channel_word + j, 0, 0);
            output_words[layout_address(OUTPUT_LAYOUT, out_dims, at)] = floatBitsToInt(mean);
        }
    }
    if (QUANTIZES) {
        output_words[channel_word_address(OUTPUT_LAYOUT, out_dims, n, channel_word, 0, 0)] =
            pack_int8(lanes);
    }
}
