// Convolution on cooperative matrices (tensor cores): a matrix product of output pixels (M) and
// output channels (N) over K = (weight part, tap, input channel). The gather of im2col happens
// while activations are loaded to shared memory. Tensors are in layout 4C.
//
// A workgroup computes TILE_M x TILE_N outputs; each subgroup MATRICES_M x MATRICES_N matrices.
// Every loop over an array of matrices unrolls: drivers keep an indexed array in memory otherwise.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#pragma use_vulkan_memory_model
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d_parameters.glsl"
#include "epilogue.glsl"

layout(local_size_x_id = 20) in;
layout(constant_id = 20) const int LOCAL_SIZE = 128;
layout(constant_id = 21) const int SUBGROUP_SIZE = 32;
layout(constant_id = 22) const int M_SIZE = 16;  // of one matrix
layout(constant_id = 23) const int N_SIZE = 16;
layout(constant_id = 24) const int K_SIZE = 32;
layout(constant_id = 25) const int SUBGROUPS_N = 2;  // subgroups side by side along N
layout(constant_id = 26) const int MATRICES_M = 4;   // of one subgroup
layout(constant_id = 27) const int MATRICES_N = 4;
layout(constant_id = 28) const int TILE_M = 128;
layout(constant_id = 29) const int TILE_N = 128;
layout(constant_id = 30) const int CHUNK_K = 64;     // bytes of K in shared memory at once
layout(constant_id = 31) const bool WHOLE_VECTORS = true;  // channels come in whole 16 bytes
layout(constant_id = 33) const bool HAS_PADDING = true;
layout(constant_id = 34) const bool SAME_PIXELS = false;  // output pixel n reads input pixel n only
layout(constant_id = 32) const int SPLITS_K = 1;     // more: sums of parts of K go to Scratch
layout(constant_id = 35) const bool FOLDS_ROWS = false;  // a row of taps of one word is one tap
layout(constant_id = 5) const int WEIGHT_PARTS = 1;

layout(set = 0, binding = 0) restrict readonly buffer Input { uvec4 input_vectors[]; };
layout(set = 0, binding = 1) restrict writeonly buffer Output { uvec4 output_vectors[]; };
layout(set = 0, binding = 2) restrict readonly buffer Weights { uvec4 weight_vectors[]; };
layout(set = 0, binding = 3) restrict readonly buffer Channels { ivec4 channels[]; };

const int CHUNK_VECTORS = CHUNK_K / 16;
const int ROW_PAIRS = 2 * CHUNK_VECTORS + 2;  // two spare pairs a row keep banks apart
const int ROWS_PER_PASS = LOCAL_SIZE / CHUNK_VECTORS;
const int PASSES_M = TILE_M / ROWS_PER_PASS;
const int PASSES_N = TILE_N / ROWS_PER_PASS;
const int SUBGROUP_N = MATRICES_N * N_SIZE;
const int SUBGROUP_WORDS = SUBGROUP_N / 4;
// While the products are made, where that leaves registers for them.
const bool LOADS_EARLY = MATRICES_M * MATRICES_N < 16;
const int ROWS_PER_ROUND = SUBGROUP_SIZE / SUBGROUP_WORDS;  // of sums that a subgroup stores
const int ROUNDS = (M_SIZE + ROWS_PER_ROUND - 1) / ROWS_PER_ROUND;
const int FIRST_WEIGHT = TILE_M * ROW_PAIRS;
const int OPERAND_PAIRS = (TILE_M + TILE_N) * ROW_PAIRS;
const int SUM_ROW_PAIRS = SUBGROUP_N / 2 + 4;  // four to spare keep banks apart here too
const int RESULT_PAIRS = LOCAL_SIZE / SUBGROUP_SIZE * M_SIZE * SUM_ROW_PAIRS;

// Rows of activations, then rows of weights; in the end each subgroup's sums. Pairs of words, since
// the K of a matrix can be 8 bytes.
shared uvec2 tiles[OPERAND_PAIRS > RESULT_PAIRS ? OPERAND_PAIRS : RESULT_PAIRS];

int lane_row;     // row of a pass, and vector of the chunk, that this invocation loads
int lane_vector;
int origins[PASSES_M];  // address of each pass's first tap, which may lie outside of the image
int inside[PASSES_M];   // bit i: whether taps of row i are; bit 16 + i: those of column i
int weight_row;         // address of the first pass's vectors
uvec4 next_activations[PASSES_M];
uvec4 next_weights[PASSES_N];

// Where the next vector of K lies: vector of a tap's channels, and the tap.
int block_vectors;
int vector;
ivec2 tap;

int taps_per_row() { return FOLDS_ROWS ? 1 : kernel_width; }

int k_vectors() { return WEIGHT_PARTS * kernel_height * taps_per_row() * block_vectors; }

uint input_word(int address) { return input_vectors[address / 4][address % 4]; }

// Which of the taps along one axis lie inside the image.
int taps_inside(int origin, int taps, int dilation, int size) {
    int bits = 0;
    for (int i = 0; i < taps; i++) {
        int at = origin + i * dilation;
        bits |= at >= 0 && at < size ? 1 << i : 0;
    }
    return bits;
}

void locate_pixels(int tile_m) {
    int words = input_words_per_pixel();
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        int row = min(tile_m * TILE_M + pass * ROWS_PER_PASS + lane_row, pixel_count - 1);
        if (SAME_PIXELS) {
            origins[pass] = (first_pixel + row) * words;
            continue;
        }
        Pixel pixel = pixel_at(first_pixel + row);
        int h = pixel.oh * stride_height - padding_top;
        int w = pixel.ow * stride_width - padding_left;
        origins[pass] = ((pixel.n * in_height + h) * in_width + w) * words;
        if (HAS_PADDING) {
            inside[pass] = taps_inside(h, kernel_height, dilation_height, in_height) |
                           taps_inside(w, kernel_width, dilation_width, in_width) << 16;
        }
    }
}

// Taps of the second part of the weights, and what pads the last chunk, begin at the first again:
// with the padding, the weights are zero and anything will do.
void advance(int vectors) {
    vector += vectors;
    while (vector >= block_vectors) {
        vector -= block_vectors;
        tap.y++;
        if (tap.y == taps_per_row()) {
            tap.y = 0;
            tap.x = tap.x + 1 == kernel_height ? 0 : tap.x + 1;
        }
    }
}

void locate_chunk(int chunk) {
    vector = 0;
    tap = ivec2(0);
    if (SPLITS_K == 1) {
        advance(lane_vector);
        return;
    }
    int first = chunk * CHUNK_VECTORS + lane_vector;
    int taps = first / block_vectors;
    vector = first - taps * block_vectors;
    taps %= kernel_height * taps_per_row();
    tap = ivec2(taps / taps_per_row(), taps % taps_per_row());
}

// Four taps side by side, of one word each.
uvec4 gather_row(int pass, int selected, int tap_address, int column) {
    uvec4 result = uvec4(input_zero_word);
    [[unroll]] for (int i = 0; i < 4; i++) {
        int both = selected | 0x10000 << column + i;
        bool here = column + i < kernel_width && (!HAS_PADDING || (inside[pass] & both) == both);
        if (here) result[i] = input_word(origins[pass] + tap_address + i);
    }
    return result;
}

// 16 bytes of K at one output pixel: four words of channels of one tap.
uvec4 gather(int pass, int selected, int tap_address, int word) {
    if (HAS_PADDING && (inside[pass] & selected) != selected) return uvec4(input_zero_word);
    int address = origins[pass] + tap_address;
    if (WHOLE_VECTORS) return input_vectors[address / 4];
    int words = input_words_per_pixel();
    uvec4 result = uvec4(0);
    [[unroll]] for (int i = 0; i < 4; i++) {
        if (word + i < words) result[i] = input_word(address + i);
    }
    return result;
}

// Loads what this invocation puts into the next chunk, and moves on.
void fetch(int chunk, int first_word, int row_vectors) {
    int word = first_word + 4 * vector;
    int selected = 1 << tap.x | (FOLDS_ROWS ? 0 : 0x10000 << tap.y);
    ivec2 offset = tap * ivec2(dilation_height, dilation_width);
    int tap_address = (offset.x * in_width + offset.y) * input_words_per_pixel() + word;
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        next_activations[pass] = FOLDS_ROWS ? gather_row(pass, selected, tap_address, word)
                                            : gather(pass, selected, tap_address, word);
    }
    [[unroll]] for (int pass = 0; pass < PASSES_N; pass++) {
        next_weights[pass] = weight_vectors[weight_row + pass * ROWS_PER_PASS * row_vectors +
                                            chunk * CHUNK_VECTORS];
    }
    advance(CHUNK_VECTORS);
}

void place() {
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        int pair = (pass * ROWS_PER_PASS + lane_row) * ROW_PAIRS + 2 * lane_vector;
        tiles[pair] = next_activations[pass].xy;
        tiles[pair + 1] = next_activations[pass].zw;
    }
    [[unroll]] for (int pass = 0; pass < PASSES_N; pass++) {
        int pair = FIRST_WEIGHT + (pass * ROWS_PER_PASS + lane_row) * ROW_PAIRS + 2 * lane_vector;
        tiles[pair] = next_weights[pass].xy;
        tiles[pair + 1] = next_weights[pass].zw;
    }
}

ivec4 parameters[4];  // of the four channels whose outputs this invocation stores

void load_parameters(int word) {
    [[unroll]] for (int j = 0; j < 4; j++) parameters[j] = channels[4 * word + j];
}

// Words of the second tensor that this invocation adds: loaded together, before they are needed.
int others[MATRICES_M * ROUNDS];

void load_others(int first_row, int word) {
    int out_words = (out_channels + 3) / 4;
    [[unroll]] for (int i = 0; i < MATRICES_M * ROUNDS; i++) {
        int pixel = first_row + i / ROUNDS * M_SIZE + i % ROUNDS * ROWS_PER_ROUND;
        int address = (first_pixel + min(pixel, pixel_count - 1)) * out_words + word;
        others[i] = other_word(word < out_words ? address : 0);
    }
}

// Stores four channels of one pixel, or their sums where parts of K are still to be added up.
void store(int pixel, int word, ivec4 sums, int other) {
    int out_words = (out_channels + 3) / 4;
    if (pixel >= pixel_count || word >= out_words) return;
    if (SPLITS_K > 1) {
        int part = int(gl_WorkGroupID.z) * pixel_count;
        output_vectors[(part + pixel) * out_words + word] = uvec4(sums);
        return;
    }
    ivec4 lanes;
    [[unroll]] for (int j = 0; j < 4; j++) {
        lanes[j] = requantize(sums[j] + parameters[j].x, parameters[j], output_zero_point,
                              clamp_low, clamp_high);
    }
    int address = (first_pixel + pixel) * stored_words + first_stored_word + word;
    output_vectors[address / 4][address % 4] = uint(finished_with(lanes, other));
}

void main() {
    int lane = int(gl_LocalInvocationIndex) % SUBGROUP_SIZE;
    int subgroup = int(gl_LocalInvocationIndex) / SUBGROUP_SIZE;
    lane_vector = int(gl_LocalInvocationIndex) % CHUNK_VECTORS;
    lane_row = int(gl_LocalInvocationIndex) / CHUNK_VECTORS;
    // Tiles along N run side by side and share their activations.
    int tile_n = int(gl_WorkGroupID.x);
    int tile_m = int(gl_WorkGroupID.y);
    int first_word = first_input_word(tile_n, TILE_N / 4);
    block_vectors = ((FOLDS_ROWS ? kernel_width : block_words) + 3) / 4;
    locate_pixels(tile_m);

    coopmat<int, gl_ScopeSubgroup, M_SIZE, N_SIZE, gl_MatrixUseAccumulator>
        sums[MATRICES_M * MATRICES_N];
    [[unroll]] for (int i = 0; i < MATRICES_M * MATRICES_N; i++) {
        sums[i] = coopmat<int, gl_ScopeSubgroup, M_SIZE, N_SIZE, gl_MatrixUseAccumulator>(0);
    }
    int subgroup_m = subgroup / SUBGROUPS_N * MATRICES_M * M_SIZE;
    int subgroup_n = subgroup % SUBGROUPS_N * SUBGROUP_N;

    int lane_word = lane % SUBGROUP_WORDS;
    int word = (tile_n * TILE_N + subgroup_n) / 4 + lane_word;
    if (LOADS_EARLY) load_parameters(word);

    int chunks = (k_vectors() + CHUNK_VECTORS - 1) / CHUNK_VECTORS;
    int first_chunk = chunks * int(gl_WorkGroupID.z) / SPLITS_K;
    int last_chunk = chunks * (int(gl_WorkGroupID.z) + 1) / SPLITS_K;
    int row_vectors = chunks * CHUNK_VECTORS;
    weight_row = (tile_n * TILE_N + lane_row) * row_vectors + lane_vector;
    locate_chunk(first_chunk);
    if (first_chunk < last_chunk) fetch(first_chunk, first_word, row_vectors);
    for (int chunk = first_chunk; chunk < last_chunk; chunk++) {
        barrier();
        place();
        barrier();
        if (chunk + 1 < last_chunk) fetch(chunk + 1, first_word, row_vectors);
        [[unroll]] for (int k = 0; k < CHUNK_K; k += K_SIZE) {
            coopmat<int8_t, gl_ScopeSubgroup, M_SIZE, K_SIZE, gl_MatrixUseA> a[MATRICES_M];
            [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
                int row = subgroup_m + i * M_SIZE;
                coopMatLoad(a[i], tiles, row * ROW_PAIRS + k / 8, ROW_PAIRS,
                            gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (int j = 0; j < MATRICES_N; j++) {
                coopmat<int8_t, gl_ScopeSubgroup, K_SIZE, N_SIZE, gl_MatrixUseB> b;
                int column = subgroup_n + j * N_SIZE;
                coopMatLoad(b, tiles, FIRST_WEIGHT + column * ROW_PAIRS + k / 8, ROW_PAIRS,
                            gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
                    sums[i * MATRICES_N + j] = coopMatMulAdd(a[i], b, sums[i * MATRICES_N + j]);
                }
            }
        }
    }

    barrier();
    if (!LOADS_EARLY) load_parameters(word);
    int block = subgroup * M_SIZE * SUM_ROW_PAIRS;
    int first_row = tile_m * TILE_M + subgroup_m + lane / SUBGROUP_WORDS;
    if (SPLITS_K == 1) load_others(first_row, word);
    [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
        subgroupBarrier();
        [[unroll]] for (int j = 0; j < MATRICES_N; j++) {
            coopMatStore(sums[i * MATRICES_N + j], tiles, block + j * N_SIZE / 2, SUM_ROW_PAIRS,
                         gl_CooperativeMatrixLayoutRowMajor);
        }
        subgroupBarrier();
        [[unroll]] for (int round = 0; round < ROUNDS; round++) {
            int row = round * ROWS_PER_ROUND + lane / SUBGROUP_WORDS;
            int pair = block + row * SUM_ROW_PAIRS + 2 * lane_word;
            if (row < M_SIZE) {
                ivec4 found = ivec4(tiles[pair], tiles[pair + 1]);
                store(first_row + i * M_SIZE + round * ROWS_PER_ROUND, word, found,
                      others[i * ROUNDS + round]);
            }
        }
    }
}
