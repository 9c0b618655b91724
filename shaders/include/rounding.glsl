// Small whole numbers between int and float32 without instructions that round or convert, which GPUs
// have few of: a sum that leaves no bits for a fraction rounds, as any float operation does, halves
// to even. Values stay below 2^22.
#ifndef ROUNDING_GLSL
#define ROUNDING_GLSL

const float WHOLE = 12582912.0;      // 1.5 * 2^23
const int WHOLE_BITS = 0x4B400000;

int nearest_whole(float x) {
    precise float sum = x + WHOLE;
    return floatBitsToInt(sum) - WHOLE_BITS;
}

ivec4 nearest_whole(vec4 x) {
    precise vec4 sum = x + WHOLE;
    return floatBitsToInt(sum) - WHOLE_BITS;
}

vec4 small_float(ivec4 values) { return intBitsToFloat(values + WHOLE_BITS) - WHOLE; }

#endif
