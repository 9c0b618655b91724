// Softmax over the channels of one pixel per workgroup: ONNX Runtime's QLinearSoftmax. The sum runs
// over the channels in order, because float32 sums depend on it: every lane makes all of it.
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
    int first_read = channel_word_address(INPUT_LAYOUT, dims, n, 0, h, w);
    int read_stride = channel_word_stride(INPUT_LAYOUT, dims);
    int first_write = channel_word_address(OUTPUT_LAYOUT, dims, n, 0, h, w);
    int write_stride = channel_word_stride(OUTPUT_LAYOUT, dims);

    int greatest = -128;
    for (int word = lane; word < words; word += 64) {
        ivec4 x = unpack_int8(input_words[first_read + word * read_stride]);
        for (int j = 0; j < min(4, channels - 4 * word); j++) greatest = max(greatest, x[j]);
    }
    greatest_of[lane] = greatest;
    barrier();
    // Every lane reduces for itself: one barrier instead of one per halving.
    for (int i = 0; i < 64; i++) greatest = max(greatest, greatest_of[i]);
    if (!exists) return;

    precise float divisor = 0.0;
    for (int word = 0; word < words; word++) {
        ivec4 x = unpack_int8(input_words[first_read + word * read_stride]);
        for (int j = 0; j < min(4, channels - 4 * word); j++) {
            divisor = divisor + exponentials[greatest - x[j]].x;
        }
    }
    for (int word = lane; word < words; word += 64) {
        ivec4 x = unpack_int8(input_words[first_read + word * read_stride]);
        ivec4 lanes = ivec4(0);
        for (int j = 0; j < min(4, channels - 4 * word); j++) {
            float quotient = roundEven(divide_exactly(exponentials[greatest - x[j]].y, divisor));
            lanes[j] = min(int(min(quotient, 1024.0)) + output_zero_point, 127);
        }
        output_words[first_write + word * write_stride] = pack_int8(lanes);
    }
}
