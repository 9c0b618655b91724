// What the convolutions on cooperative matrices share: how a workgroup's tile is made of matrices,
// its buffers, and the way of its sums to the output. Tensors are in layout 4C.
//
// Column c of the j-th of four neighbouring matrices holds channel 4 * c + j of theirs: the four
// values at one place of the four matrices are one word, and are requantised and packed without
// knowing where that place is. Weights are packed in that order.
//
// Every loop over an array of matrices unrolls: drivers keep an indexed array in memory otherwise.
#ifndef CONV2D_MATRICES_GLSL
#define CONV2D_MATRICES_GLSL

#if defined(ELEMENT_FLOAT16)
// Where there are no matrices of int8: its values are exact in float16, their products and sums of
// up to 1,024 of them in float32. (What a unit really does, the self-test asks.)
#define ELEMENT float16_t
#define SUM float
#define SUM_BITS(x) floatBitsToInt(x)
#define BITS_SUM(x) intBitsToFloat(x)
const int ELEMENT_BYTES = 2;
#else
#define ELEMENT int8_t
#define SUM int
#define SUM_BITS(x) (x)
#define BITS_SUM(x) (x)
const int ELEMENT_BYTES = 1;
#endif

layout(local_size_x_id = 20) in;
layout(constant_id = 20) const int LOCAL_SIZE = 128;
layout(constant_id = 21) const int SUBGROUP_SIZE = 32;
layout(constant_id = 22) const int M_SIZE = 16;  // of one matrix
layout(constant_id = 23) const int N_SIZE = 16;
layout(constant_id = 24) const int K_SIZE = 32;
layout(constant_id = 25) const int SUBGROUPS_N = 2;  // subgroups side by side along N
layout(constant_id = 26) const int MATRICES_M = 4;   // of one subgroup
layout(constant_id = 27) const int MATRICES_N = 4;   // a multiple of four
layout(constant_id = 28) const int TILE_M = 128;
layout(constant_id = 29) const int TILE_N = 128;
layout(constant_id = 30) const int CHUNK_K = 64;     // values of K in shared memory at once
layout(constant_id = 32) const int SPLITS_K = 1;     // more: sums of parts of K go to Scratch
layout(constant_id = 40) const bool WHOLE_OUTPUTS = true;  // output channels in whole 16 bytes
layout(constant_id = 5) const int WEIGHT_PARTS = 1;

layout(set = 0, binding = 0) restrict readonly buffer Input { uvec4 input_vectors[]; };
layout(set = 0, binding = 1) restrict writeonly buffer Output { uvec4 output_vectors[]; };
layout(set = 0, binding = 2) restrict readonly buffer Weights { uvec4 weight_vectors[]; };
layout(set = 0, binding = 3) restrict readonly buffer Channels { ivec4 channels[]; };

const int CHUNK_VECTORS = CHUNK_K / 16;
const int ROW_PAIRS = 2 * ELEMENT_BYTES * CHUNK_VECTORS + 2;  // two spare pairs a row keep banks apart
const int ROWS_PER_PASS = LOCAL_SIZE / CHUNK_VECTORS;
const int PASSES_N = TILE_N / ROWS_PER_PASS;
const int SUBGROUP_N = MATRICES_N * N_SIZE;
const int PARAMETER_WORDS = REQUANTIZE == 0 ? 1 : REQUANTIZE == 3 ? 3 : 2;  // beside the bias
const int ROW_VECTORS = SUBGROUP_N / 16;  // of a row of a subgroup's outputs
const int WORD_ROW_PAIRS = 2 * ROW_VECTORS + 2;
const int SUM_ROW_PAIRS = N_SIZE / 2 + 2;
const int SUM_PAIRS = M_SIZE * SUM_ROW_PAIRS;
const int ROWS_PER_ROUND = SUBGROUP_SIZE / ROW_VECTORS;  // of outputs that a subgroup stores
const int ROUNDS = (M_SIZE + ROWS_PER_ROUND - 1) / ROWS_PER_ROUND;
const int STAGED_PAIRS = SPLITS_K > 1 ? 4 * SUM_PAIRS : M_SIZE * WORD_ROW_PAIRS;  // of a subgroup
const int RESULT_PAIRS = LOCAL_SIZE / SUBGROUP_SIZE * STAGED_PAIRS;

#define SUMS coopmat<SUM, gl_ScopeSubgroup, M_SIZE, N_SIZE, gl_MatrixUseAccumulator>
#define ROW_MAJOR gl_CooperativeMatrixLayoutRowMajor
#define COLUMN_MAJOR gl_CooperativeMatrixLayoutColumnMajor

SUMS sums[MATRICES_M * MATRICES_N];

#endif
