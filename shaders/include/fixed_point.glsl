// gemmlowp's fixed-point steps: the twin of high_multiply and divide_by_power in
// vkbackend/quant/requantize_fixed.py.
#ifndef FIXED_POINT_GLSL
#define FIXED_POINT_GLSL

// a * b / 2^31, halves up.
int high_multiply(int a, int b) {
    int upper, lower;
    imulExtended(a, b, upper, lower);
    uint rounded_lower = uint(lower) + 0x40000000u;
    upper += rounded_lower < 0x40000000u ? 1 : 0;
    return upper << 1 | int(rounded_lower >> 31);
}

// value / 2^exponent for exponents 0 to 31, halves away from zero.
int divide_by_power(int value, int exponent) {
    int mask = (1 << exponent) - 1;
    int threshold = (mask >> 1) + (value < 0 ? 1 : 0);
    return (value >> exponent) + ((value & mask) > threshold ? 1 : 0);
}

#endif
