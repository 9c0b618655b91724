// What may follow a convolution's requantisation before its words are stored: a function of its
// values and a second tensor's of the same shape and layout, or a table of 256 bytes.
#ifndef EPILOGUE_GLSL
#define EPILOGUE_GLSL

#define PAIR_TABLE_BINDING 5
#include "affine_sum.glsl"
#include "pair_table.glsl"

layout(constant_id = 11) const int EPILOGUE = 0;
layout(constant_id = 19) const bool MADE_SECOND = false;  // the second tensor is the first operand

const int SUM = 1;
const int PRODUCT = 2;
const int PAIRS = 3;
const int TABLE = 4;
const bool READS_OTHER = EPILOGUE == SUM || EPILOGUE == PRODUCT || EPILOGUE == PAIRS;

#if defined(OTHER_VECTORS)
layout(set = 0, binding = 4) restrict readonly buffer Other { ivec4 other_vectors[]; };

int word_of_other(int address) { return other_vectors[address / 4][address % 4]; }
#else
layout(set = 0, binding = 4) restrict readonly buffer Other { int other_words[]; };

int word_of_other(int address) { return other_words[address]; }
#endif

// The second tensor's word at an address of its own.
int other_word(int address) { return READS_OTHER ? word_of_other(address) : 0; }

ivec4 of_pair(ivec4 a, ivec4 b) {
    a -= sum_a_offset;
    b -= sum_b_offset;
    ivec4 first = EPILOGUE == PRODUCT ? a * b : a;
    return affine_sum(first, b, sum_a_scale, sum_b_scale, sum_offset, sum_output_storage_offset);
}

// The word to store, from four requantised values and the second tensor's word.
//
// Every kernel has this once for each word of its tile before constants remove most of it, so each
// part is written once: with twice as much NVIDIA's compiler kept cooperative matrices in memory,
// and convolutions without any epilogue took four times as long.
int finished_with(ivec4 lanes, int other) {
    ivec4 second = unpack_int8(other);
    ivec4 a = MADE_SECOND ? second : lanes;
    ivec4 b = MADE_SECOND ? lanes : second;
    if (EPILOGUE == SUM || EPILOGUE == PRODUCT) {
        lanes = of_pair(a, b);
    } else if (EPILOGUE == PAIRS || EPILOGUE == TABLE) {
        lanes = table_bytes(EPILOGUE == TABLE ? lanes + 128 : pair_index(a, b));
    }
    return pack_int8(lanes);
}

int finished_word(ivec4 lanes, int address) { return finished_with(lanes, other_word(address)); }

#endif
