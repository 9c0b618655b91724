// Softmax over the channels of one pixel per workgroup, in integers: TensorFlow Lite's rule.
// The twin of vkbackend/quant/tflite_softmax.py.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "fixed_point.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Exponentials { int exponentials[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
};

const int PADDING = -1024;

shared int greatest_of[64];
shared int sum_of[64];

int quadrupled(int value) {
    return value > 0x1FFFFFFF ? 0x7FFFFFFF : value < -0x20000000 ? -0x7FFFFFFF - 1 : value << 2;
}

// 2^31 / (1 + fraction * 2^-31).
int reciprocal(int fraction) {
    int half_denominator = int((uint(fraction) + 0x80000000u) >> 1);
    int estimate = 1515870810 + high_multiply(half_denominator, -1010580540);
    for (int i = 0; i < 3; i++) {
        int error = 0x20000000 - high_multiply(half_denominator, estimate);
        estimate += quadrupled(high_multiply(estimate, error));
    }
    return estimate > 0x3FFFFFFF ? 0x7FFFFFFF : estimate << 1;
}

// Four channels of a pixel. Those that pad the last word are as low as can be, and do not count.
ivec4 read_word(int address, int word) {
    ivec4 channel = 4 * word + ivec4(0, 1, 2, 3);
    ivec4 x = unpack_int8(input_words[address]);
    return mix(ivec4(PADDING), x, lessThan(channel, ivec4(channels)));
}

// exp(-difference) * 2^31, 0 for padding.
int exponential(int difference) {
    int found = exponentials[min(difference, 255)];
    return difference > 255 ? 0 : found;
}

ivec4 exponentials_of(ivec4 difference) {
    return ivec4(exponential(difference.x), exponential(difference.y),
                 exponential(difference.z), exponential(difference.w));
}

int probability(int exponential, int scale, int exponent) {
    int product = high_multiply(scale, exponential);
    int quotient = exponent > 31 ? 0 : divide_by_power(product, exponent);
    return min(quotient, 255) - 128;
}

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

    int greatest = PADDING;
    for (int word = lane; word < words; word += 64) {
        ivec4 x = read_word(first_read + word * read_stride, word);
        greatest = max(max(greatest, max(x.x, x.y)), max(x.z, x.w));
    }
    greatest_of[lane] = greatest;
    barrier();
    // Every lane reduces for itself: one barrier instead of one per halving.
    for (int i = 0; i < 64; i++) greatest = max(greatest, greatest_of[i]);

    int sum = 0;
    for (int word = lane; word < words; word += 64) {
        ivec4 x = read_word(first_read + word * read_stride, word);
        ivec4 values = exponentials_of(greatest - x);
        for (int j = 0; j < 4; j++) sum += divide_by_power(values[j], 12);
    }
    sum_of[lane] = sum;
    barrier();
    uint total = 0u;
    for (int i = 0; i < 64; i++) total += uint(sum_of[i]);
    if (!exists) return;

    total = max(total, 1u);
    int headroom = 31 - findMSB(total);
    int scale = reciprocal(int((total << headroom) - 0x80000000u));
    int exponent = 35 - headroom;
    for (int word = lane; word < words; word += 64) {
        ivec4 x = read_word(first_read + word * read_stride, word);
        ivec4 values = exponentials_of(greatest - x);
        ivec4 lanes;
        for (int j = 0; j < 4; j++) lanes[j] = probability(values[j], scale, exponent);
        output_words[first_write + word * write_stride] = pack_int8(lanes);
    }
}
