// What may follow a convolution's requantisation before its words are stored: an affine sum with a
// second tensor of the same shape and layout, each step rounded to float32 on its own (as in
// binary_arithmetic.comp; vkbackend/quant/pair.py is the twin), or a table of 256 bytes.
#ifndef EPILOGUE_GLSL
#define EPILOGUE_GLSL

layout(constant_id = 11) const int EPILOGUE = 0;

const int SUM_FIRST = 1;  // the convolution's values are the sum's first input
const int SUM_SECOND = 2;
const int TABLE = 3;

// Of the second tensor, or of the table; never read without an epilogue.
layout(set = 0, binding = 4) restrict readonly buffer Epilogue { int epilogue_words[]; };

// Small whole numbers to float32 and back without instructions that convert, which GPUs have few
// of: added to a float that leaves no bits for a fraction. It rounds as requantize_float does.
const int WHOLE_BITS = 0x4B400000;  // of 1.5 * 2^23

vec4 small_float(ivec4 values) { return intBitsToFloat(values + WHOLE_BITS) - 12582912.0; }

ivec4 affine_sum(ivec4 first, ivec4 second) {
    vec4 a = small_float(first - sum_first_offset);
    vec4 b = small_float(second - sum_second_offset);
    precise vec4 from_a = a * sum_first_scale;
    precise vec4 from_b = b * sum_second_scale;
    precise vec4 shifted = from_b + sum_constant;
    precise vec4 total = from_a + shifted;
    precise vec4 rounded = clamp(total, float(sum_low), float(sum_high)) + 12582912.0;
    return floatBitsToInt(rounded) - WHOLE_BITS + sum_output_offset;
}

int look_up(int value) {
    int index = value + 128;
    return epilogue_words[index / 4] >> (8 * (index % 4));
}

// The second tensor's word at an address of the output.
int other_word(int address) {
    return EPILOGUE == SUM_FIRST || EPILOGUE == SUM_SECOND ? epilogue_words[address] : 0;
}

// The word to store, from four requantised values and the second tensor's word.
int finished_with(ivec4 lanes, int other) {
    if (EPILOGUE == SUM_FIRST) {
        lanes = affine_sum(lanes, unpack_int8(other));
    } else if (EPILOGUE == SUM_SECOND) {
        lanes = affine_sum(unpack_int8(other), lanes);
    } else if (EPILOGUE == TABLE) {
        lanes = ivec4(look_up(lanes.x), look_up(lanes.y), look_up(lanes.z), look_up(lanes.w));
    }
    return pack_int8(lanes);
}

int finished_word(ivec4 lanes, int address) { return finished_with(lanes, other_word(address)); }

#endif
