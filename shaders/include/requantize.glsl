// int32 accumulator -> int8 value: the twin of vkbackend/quant/requantize*.py.
// `channel` is (bias, up to three words of the mode's parameters).
#ifndef REQUANTIZE_GLSL
#define REQUANTIZE_GLSL

#include "fixed_point.glsl"
#include "rounding.glsl"

layout(constant_id = 10) const int REQUANTIZE = 0;

// Mode 0, ONNX Runtime: one float multiply, halves to even. Clamped before it is rounded, which
// changes nothing since the limits are whole.
int requantize_float(int accumulator, float multiplier, int zero_point, int low, int high) {
    precise float scaled = float(accumulator) * multiplier;
    float clamped = clamp(scaled, float(low - zero_point), float(high - zero_point));
    return nearest_whole(clamped) + zero_point;
}

// Mode 1, TensorFlow Lite's: a multiplier and a shift, rounded twice.
int requantize_fixed(int accumulator, int multiplier, int shift, int zero_point, int low,
                     int high) {
    int product = high_multiply(accumulator << max(shift, 0), multiplier);
    int quotient = divide_by_power(product, max(-shift, 0));
    return clamp(quotient, low - zero_point, high - zero_point) + zero_point;
}

// Adds 2^bit to a number of three words.
void add_power(inout uvec3 words, int bit) {
    uint carry = 1u << (bit & 31);
    for (int i = bit >> 5; i < 3 && carry != 0u; i++) {
        words[i] += carry;
        carry = words[i] < carry ? 1u : 0u;
    }
}

int bit_length(uvec3 words) {
    if (words.z != 0u) return findMSB(words.z) + 65;
    return words.y != 0u ? findMSB(words.y) + 33 : findMSB(words.x) + 1;
}

// Mode 2: the float64 product of the accumulator and a multiplier of 53 bits, rounded to 53 bits
// (which matters only on the verge of a half: there its tie goes up), then halves away from zero.
int requantize_single(int accumulator, int multiplier_high, int multiplier_low, int zero_point,
                      int low, int high) {
    uint magnitude = uint(accumulator < 0 ? -accumulator : accumulator);
    uint low_bits = uint(multiplier_low) & 0x3FFFFFu;
    int shift = max(multiplier_low >> 22, 1);  // 0 stands on channels that pad a word
    uvec3 words;
    uint carried, middle;
    umulExtended(magnitude, uint(multiplier_high) << 22 | low_bits, carried, words.x);
    umulExtended(magnitude, uint(multiplier_high) >> 10, words.z, middle);
    words.y = carried + middle;
    words.z += words.y < middle ? 1u : 0u;
    int excess = bit_length(words) - 53;
    if (excess > 0) add_power(words, excess - 1);
    add_power(words, shift - 1);
    int quotient = 1 << 30;
    if (bit_length(words) - shift <= 30) {
        int part = shift & 31;
        int first = shift >> 5;
        uint above = first < 2 ? words[first + 1] : 0u;
        quotient = int(words[first] >> part | (part == 0 ? 0u : above << (32 - part)));
    }
    quotient = accumulator < 0 ? -quotient : quotient;
    return clamp(quotient, low - zero_point, high - zero_point) + zero_point;
}

// Mode 3, ExecuTorch's: scale, bias, reciprocal of the output's scale, each step rounded.
int requantize_executorch(int accumulator, vec3 parameters, int zero_point, int low, int high) {
    precise float scaled = float(accumulator) * parameters.x;
    precise float shifted = scaled + parameters.y;
    precise float quotient = shifted * parameters.z;
    float rounded = clamp(roundEven(quotient), float(low - zero_point), float(high - zero_point));
    return int(rounded) + zero_point;
}

int requantize(int accumulator, ivec4 channel, int zero_point, int low, int high) {
    if (REQUANTIZE == 1) {
        return requantize_fixed(accumulator, channel.y, channel.z, zero_point, low, high);
    }
    if (REQUANTIZE == 2) {
        return requantize_single(accumulator, channel.y, channel.z, zero_point, low, high);
    }
    if (REQUANTIZE == 3) {
        return requantize_executorch(accumulator, intBitsToFloat(channel.yzw), zero_point, low,
                                     high);
    }
    return requantize_float(accumulator, intBitsToFloat(channel.y), zero_point, low, high);
}

#endif
