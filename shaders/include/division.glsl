// A float32 quotient rounded as IEEE 754 wants it, halves to even: Vulkan allows 2.5 ULP.
#ifndef DIVISION_GLSL
#define DIVISION_GLSL

// a / b in integers. b is a normal number; what lies below the normal numbers becomes 0.
float divide_exactly(float a, float b) {
    uint a_bits = floatBitsToUint(a);
    uint b_bits = floatBitsToUint(b);
    uint sign = (a_bits ^ b_bits) & 0x80000000u;
    int a_exponent = int(a_bits >> 23 & 255u);
    if (a_exponent == 0) return uintBitsToFloat(sign);
    if (a_exponent == 255) return uintBitsToFloat(a_bits ^ (b_bits & 0x80000000u));
    int exponent = a_exponent - int(b_bits >> 23 & 255u) + 127;
    uint divisor = b_bits & 0x7FFFFFu | 0x800000u;
    uint rest = a_bits & 0x7FFFFFu | 0x800000u;
    if (rest < divisor) {
        rest <<= 1;
        exponent--;
    }
    uint quotient = 0u;  // 24 bits, the first of them set
    for (int bit = 0; bit < 24; bit++) {
        uint fits = rest >= divisor ? 1u : 0u;
        rest = rest - fits * divisor << 1;
        quotient = quotient << 1 | fits;
    }
    // A rest of exactly one half cannot be: the quotient would have 25 bits.
    quotient += rest > divisor ? 1u : 0u;
    if (exponent < 1) return uintBitsToFloat(sign);
    // A carry out of the quotient raises the exponent by itself.
    uint magnitude = (uint(exponent) << 23) + quotient - 0x800000u;
    return uintBitsToFloat(sign | min(magnitude, 0x7F800000u));
}

#endif
