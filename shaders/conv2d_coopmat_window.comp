// Convolution of stride 1 on cooperative matrices, without a gather: outputs are numbered over rows
// that are GAP positions wider than the image, so that a tap is the same distance away from every
// output. A workgroup loads the positions that its outputs see once per chunk of channels, and
// all taps read matrices from there. Tensors are in layout 4C.
//
// Position (n, h, w) has the number (n * slot_height + h) * slot_width + w; rows and columns from
// the image's size on hold the zero point: they pad this row's end and the next one's beginning.
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
#define OTHER_VECTORS
#include "epilogue.glsl"
#include "conv2d_matrices.glsl"

layout(constant_id = 36) const int GAP_HEIGHT = 1;
layout(constant_id = 37) const int GAP_WIDTH = 1;
layout(constant_id = 38) const int PATCH_ROWS = 256;  // positions that a tile's outputs see

const int PASSES_M = (PATCH_ROWS + ROWS_PER_PASS - 1) / ROWS_PER_PASS;
const int FIRST_WEIGHT = PATCH_ROWS * ROW_PAIRS;
const int WEIGHT_PAIRS = TILE_N * ROW_PAIRS;  // of a tap: this one's and the next one's are kept
const int OPERAND_PAIRS = FIRST_WEIGHT + 2 * WEIGHT_PAIRS;

// Rows of activations, then rows of weights, twice; in the end what each subgroup stores. Pairs of words, since
// the K of a matrix can be 8 bytes.
shared uvec2 tiles[OPERAND_PAIRS > RESULT_PAIRS ? OPERAND_PAIRS : RESULT_PAIRS];

#include "conv2d_matrix_sums.glsl"

int lane_row;     // row of a pass, and vector of the chunk, that this invocation loads
int lane_vector;
int positions[PASSES_M];  // address of each pass's position in vectors, -1 outside of the image
uvec4 next_activations[PASSES_M];
uvec4 next_weights[PASSES_N];
int slot_width;
int slot_height;

void locate_patch(int first_slot, int first_word) {
    int vectors = input_words_per_pixel() / 4;
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        int slot = first_slot + pass * ROWS_PER_PASS + lane_row;
        int row = slot / slot_width;
        int n = row / slot_height;
        int h = row - n * slot_height;
        int w = slot - row * slot_width;
        bool is_inside = slot >= 0 && n < batch && h < in_height && w < in_width;
        int pixel = (n * in_height + h) * in_width + w;
        positions[pass] = is_inside ? pixel * vectors + first_word / 4 : -1;
    }
}

void fetch_patch(int chunk, int block_vectors) {
    int vector = chunk * CHUNK_VECTORS + lane_vector;
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        bool is_inside = positions[pass] >= 0 && vector < block_vectors;
        next_activations[pass] =
            is_inside ? input_vectors[positions[pass] + vector] : uvec4(input_zero_word);
    }
}

void place_patch() {
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        int row = pass * ROWS_PER_PASS + lane_row;
        if (pass + 1 < PASSES_M || row < PATCH_ROWS) {
            place_vector(row * ROW_PAIRS, lane_vector, next_activations[pass]);
        }
    }
}

void fetch_weights(int address) {
    [[unroll]] for (int pass = 0; pass < PASSES_N; pass++) {
        next_weights[pass] = weight_vectors[address + pass * LOCAL_SIZE];
    }
}

void place_weights(int first_pair) {
    [[unroll]] for (int pass = 0; pass < PASSES_N; pass++) {
        place_vector(first_pair + (pass * ROWS_PER_PASS + lane_row) * ROW_PAIRS, lane_vector,
                     next_weights[pass]);
    }
}

int output_pixel(int row) {
    int slot = int(gl_WorkGroupID.y) * TILE_M + row;
    int image_row = slot / slot_width;
    int n = image_row / slot_height;
    int oh = image_row - n * slot_height;
    int ow = slot - image_row * slot_width;
    bool is_output = n < batch && oh < out_height && ow < out_width;
    return is_output ? (n * out_height + oh) * out_width + ow : -1;
}

void main() {
    int subgroup = int(gl_LocalInvocationIndex) / SUBGROUP_SIZE;
    lane_vector = int(gl_LocalInvocationIndex) % CHUNK_VECTORS;
    lane_row = int(gl_LocalInvocationIndex) / CHUNK_VECTORS;
    int tile_n = int(gl_WorkGroupID.x);
    int tile_m = int(gl_WorkGroupID.y);
    slot_width = in_width + GAP_WIDTH;
    slot_height = in_height + GAP_HEIGHT;
    int block_vectors = (block_words + 3) / 4;
    int first_slot = tile_m * TILE_M - padding_top * slot_width - padding_left;
    locate_patch(first_slot, first_input_word(tile_n, TILE_N / 4));

    int subgroup_m = subgroup / SUBGROUPS_N * MATRICES_M * M_SIZE;
    int subgroup_n = subgroup % SUBGROUPS_N * SUBGROUP_N;
    int chunks = (block_vectors + CHUNK_VECTORS - 1) / CHUNK_VECTORS;
    int taps = WEIGHT_PARTS * kernel_height * kernel_width;
    int blocks = chunks * taps;  // of weights: those of a chunk and a tap
    int next_weights_at = tile_n * blocks * TILE_N * CHUNK_VECTORS + int(gl_LocalInvocationIndex);
    fetch_patch(0, block_vectors);
    fetch_weights(next_weights_at);
    load_parameters(tile_n);
    barrier();
    begin_sums(subgroup_n);
    place_patch();
    place_weights(FIRST_WEIGHT);
    ivec2 tap = ivec2(0);
    int chunk = 0;
    for (int block = 0; block < blocks; block++) {
        barrier();
        bool is_first = tap == ivec2(0) && (WEIGHT_PARTS == 1 || block == chunk * taps);
        if (is_first && chunk + 1 < chunks) fetch_patch(chunk + 1, block_vectors);
        next_weights_at += TILE_N * CHUNK_VECTORS;
        if (block + 1 < blocks) fetch_weights(next_weights_at);
        int first_row = subgroup_m + tap.x * dilation_height * slot_width + tap.y * dilation_width;
        int first_weight = FIRST_WEIGHT + block % 2 * WEIGHT_PAIRS;
        multiply(first_row, first_weight + subgroup_n * ROW_PAIRS);
        tap.y++;
        if (tap.y == kernel_width) {
            tap.y = 0;
            tap.x = tap.x + 1 == kernel_height ? 0 : tap.x + 1;
        }
        if (block + 1 == (chunk + 1) * taps) {
            // The next chunk's positions take the place of this one's.
            chunk++;
            barrier();
            if (chunk < chunks) place_patch();
        }
        if (block + 1 < blocks) place_weights(FIRST_WEIGHT + (block + 1) % 2 * WEIGHT_PAIRS);
    }
    store_tile(tile_n, subgroup_m, subgroup_n);
}
