// int32 accumulator -> int8 value: the twin of vkbackend/quant/requantize*.py.
// `channel` is (bias, two words of the mode's parameters, unused).
#ifndef REQUANTIZE_GLSL
#define REQUANTIZE_GLSL

layout(constant_id = 10) const int REQUANTIZE = 0;

// Mode 0, ONNX Runtime: one float multiply, halves to even, clamped before the conversion to int.
int requantize_float(int accumulator, float multiplier, int zero_point, int low, int high) {
    precise float scaled = float(accumulator) * multiplier;
    float rounded = clamp(roundEven(scaled), float(low - zero_point), float(high - zero_point));
    return int(rounded) + zero_point;
}

int requantize(int accumulator, ivec4 channel, int zero_point, int low, int high) {
    return requantize_float(accumulator, intBitsToFloat(channel.y), zero_point, low, high);
}

#endif
