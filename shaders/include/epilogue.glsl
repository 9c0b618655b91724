// What may follow a convolution's requantisation before its words are stored: an affine sum with a
// second tensor of the same shape and layout, or a table of 256 bytes.
#ifndef EPILOGUE_GLSL
#define EPILOGUE_GLSL

#include "affine_sum.glsl"

layout(constant_id = 11) const int EPILOGUE = 0;

const int SUM_FIRST = 1;  // the convolution's values are the sum's first input
const int SUM_SECOND = 2;
const int TABLE = 3;
const bool READS_OTHER = EPILOGUE == SUM_FIRST || EPILOGUE == SUM_SECOND;

// Of the second tensor, or of the table; never read without an epilogue.
#if defined(EPILOGUE_VECTORS)
layout(set = 0, binding = 4) restrict readonly buffer Epilogue { ivec4 epilogue_vectors[]; };

int epilogue_word(int address) { return epilogue_vectors[address / 4][address % 4]; }
#else
layout(set = 0, binding = 4) restrict readonly buffer Epilogue { int epilogue_words[]; };

int epilogue_word(int address) { return epilogue_words[address]; }
#endif

ivec4 sum_of(ivec4 a, ivec4 b) {
    return affine_sum(a - sum_a_storage_offset, b - sum_b_storage_offset, sum_a_scale, sum_b_scale,
                      sum_offset, sum_low, sum_high) + sum_output_storage_offset;
}

int look_up(int value) {
    int index = value + 128;
    return epilogue_word(index / 4) >> (8 * (index % 4));
}

// The second tensor's word at an address of the output.
int other_word(int address) { return READS_OTHER ? epilogue_word(address) : 0; }

// The word to store, from four requantised values and the second tensor's word.
int finished_with(ivec4 lanes, int other) {
    if (EPILOGUE == SUM_FIRST) {
        lanes = sum_of(lanes, unpack_int8(other));
    } else if (EPILOGUE == SUM_SECOND) {
        lanes = sum_of(unpack_int8(other), lanes);
    } else if (EPILOGUE == TABLE) {
        lanes = ivec4(look_up(lanes.x), look_up(lanes.y), look_up(lanes.z), look_up(lanes.w));
    }
    return pack_int8(lanes);
}

int finished_word(ivec4 lanes, int address) { return finished_with(lanes, other_word(address)); }

#endif
