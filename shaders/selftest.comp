// Asks a device how exactly it computes: each invocation does one operation on crafted operands.
// The operations, the operands and what NumPy makes of them are in vkbackend/device/selftest.py.
#version 450
#pragma variants DOT plain signed mixed
#if defined(DOT_SIGNED) || defined(DOT_MIXED)
#extension GL_EXT_integer_dot_product : require
#endif

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer Cases { uvec4 cases[]; };  // operation, three operands
layout(set = 0, binding = 1) writeonly buffer Results { uint results[]; };

layout(push_constant) uniform Parameters { uint case_count; };

uint add_product(float a, float b, float addend) {
    precise float product = a * b;  // `precise` must keep it from being fused with the sum
    precise float sum = product + addend;
    return floatBitsToUint(sum);
}

uint requantize(int accumulator, float multiplier, int zero_point) {
    precise float scaled = float(accumulator) * multiplier;
    float rounded = clamp(roundEven(scaled), float(-128 - zero_point), float(127 - zero_point));
    return uint(int(rounded) + zero_point);
}

uint multiply_high(int a, int b) {
    int high, low;
    imulExtended(a, b, high, low);
    return uint(high);
}

uint dot4(uint a, uint b) {
#if defined(DOT_SIGNED)
    return uint(dotPacked4x8EXT(int(a), int(b)));
#elif defined(DOT_MIXED)
    return uint(dotPacked4x8EXT(a, int(b)));
#else
    int sum = 0;
    for (int i = 0; i < 32; i += 8)
        sum += bitfieldExtract(int(a), i, 8) * bitfieldExtract(int(b), i, 8);
    return uint(sum);
#endif
}

uint compute(uint operation, uint a, uint b, uint c) {
    switch (operation) {
        case 0u: return floatBitsToUint(float(int(a)));
        case 1u: return floatBitsToUint(uintBitsToFloat(a) * uintBitsToFloat(b));
        case 2u: return floatBitsToUint(roundEven(uintBitsToFloat(a)));
        case 3u: return uint(int(uintBitsToFloat(a)));
        case 4u: return add_product(uintBitsToFloat(a), uintBitsToFloat(b), uintBitsToFloat(c));
        case 5u: return uint(bitfieldExtract(int(a), int(b), 8));
        case 6u: return dot4(a, b);
        case 7u: return requantize(int(a), uintBitsToFloat(b), int(c));
        case 8u: return multiply_high(int(a), int(b));
    }
    return 0u;
}

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < case_count) results[i] = compute(cases[i].x, cases[i].y, cases[i].z, cases[i].w);
}
