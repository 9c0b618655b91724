// Softmax over the channels of one pixel per workgroup: ONNX Runtime's QLinearSoftmax. The sum runs
// over the channels in order, because float32 sums depend on it: every lane makes all of it.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Exponentials { float exponentials[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
    int steps;
    int output_zero_point;
};

shared int greatest_of[64];

uint mantissa(uint bits) { return (bits & 0x7FFFFFu) | 0x800000u; }

// Whether first * 2 * steps >= (2 * whole - 1) * second, both floats; more than that for odd ones:
// then their quotient times steps rounds to `whole` or more, halves to even.
bool reaches(int whole, uint first_bits, uint second_bits) {
    uint left_high, left_low, high, low;
    umulExtended(mantissa(first_bits), uint(2 * steps), left_high, left_low);
    umulExtended(mantissa(second_bits), uint(2 * whole - 1), high, low);
    int shift = int(second_bits >> 23) - int(first_bits >> 23);
    uint carried = shift == 0 ? 0u : low >> (32 - shift);
    high = (high << shift) | carried;
    low <<= shift;
    if (left_high != high) return left_high > high;
    return left_low > low || (left_low == low && whole % 2 == 0);
}

// rint(first * steps / second) without an error, first <= second: ONNX Runtime takes it in double.
int rounded_quotient(float first, float second) {
    float estimate = first / second * float(steps);
    if (estimate < 0.25) return 0;
    if (estimate > 1000.0) return 1000;
    int whole = int(estimate + 0.5);
    uint first_bits = floatBitsToUint(first);
    uint second_bits = floatBitsToUint(second);
    if (whole > 0 && !reaches(whole, first_bits, second_bits)) return whole - 1;
    return reaches(whole + 1, first_bits, second_bits) ? whole + 1 : whole;
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
            divisor = divisor + exponentials[greatest - x[j]];
        }
    }
    for (int word = lane; word < words; word += 64) {
        ivec4 x = unpack_int8(input_words[first_read + word * read_stride]);
        ivec4 lanes = ivec4(0);
        for (int j = 0; j < min(4, channels - 4 * word); j++) {
            int quotient = rounded_quotient(exponentials[greatest - x[j]], divisor);
            lanes[j] = min(quotient + output_zero_point, 127);
        }
        output_words[first_write + word * write_stride] = pack_int8(lanes);
    }
}
