// Softmax over the channels of one pixel per workgroup: ONNX Runtime's QLinearSoftmax. The sum runs
// over the channels in order, because float32 sums depend on it.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "division.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
// By distance from the greatest value: the exponential, and what is divided by the sum of them.
layout(set = 0, binding = 2) readonly buffer Exponentials { vec2 exponentials[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
    int output_zero_point;
};

shared int greatest_of[64];
shared float values[256];
shared float sum;

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int pixel = int(gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);
    bool exists = pixel < batch * height * width;  // the same for the whole workgroup
    int w = pixel % width;
    int row = pixel / width;
    int h = row % height;
    int n = exists ? row / height : 0;
    ivec4 dims = ivec4(batch, channels, height, width);
    int words = (channels + 3) / 4;

    int greatest = -128;
    for (int word = lane; word < words; word += 64) {
        ivec4 x = unpack_int8(input_words[channel_word_address(INPUT_LAYOUT, dims, n, word, h, w)]);
        for (int j = 0; j < min(4, channels - 4 * word); j++) greatest = max(greatest, x[j]);
    }
    greatest_of[lane] = greatest;
    if (lane == 0) sum = 0.0;
    for (int half_count = 32; half_count > 0; half_count /= 2) {
        barrier();
        if (lane < half_count) {
            greatest_of[lane] = max(greatest_of[lane], greatest_of[lane + half_count]);
        }
    }
    barrier();
    greatest = greatest_of[0];

    for (int first = 0; first < words; first += 64) {
        int word = min(first + lane, words - 1);
        ivec4 x = unpack_int8(input_words[channel_word_address(INPUT_LAYOUT, dims, n, word, h, w)]);
        for (int j = 0; j < 4; j++) values[4 * lane + j] = exponentials[max(greatest - x[j], 0)].x;
        barrier();
        if (lane == 0) {
            precise float total = sum;
            int count = min(256, channels - 4 * first);
            for (int i = 0; i < count; i++) total = total + values[i];
            sum = total;
        }
        barrier();
    }
    if (!exists) return;
    float divisor = sum;
    for (int word = lane; word < words; word += 64) {
        int address = channel_word_address(INPUT_LAYOUT, dims, n, word, h, w);
        ivec4 x = unpack_int8(input_words[address]);
        ivec4 lanes = ivec4(0);
        for (int j = 0; j < min(4, channels - 4 * word); j++) {
            float quotient = roundEven(divide_exactly(exponentials[greatest - x[j]].y, divisor));
            lanes[j] = min(int(min(quotient, 1024.0)) + output_zero_point, 127);
        }
        output_words[channel_word_address(OUTPUT_LAYOUT, dims, n, word, h, w)] = pack_int8(lanes);
    }
}
