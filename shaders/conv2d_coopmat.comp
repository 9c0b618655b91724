// Convolution on cooperative matrices (tensor cores): a matrix product of output pixels (M) and
// output channels (N) over K = (weight part, tap, input channel). The gather of im2col happens
// while activations are loaded to shared memory. Tensors are in layout 4C.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#pragma use_vulkan_memory_model
#pragma variants ELEMENT int8 float16
#if defined(ELEMENT_FLOAT16)
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d_parameters.glsl"
#define OTHER_VECTORS
#include "epilogue.glsl"
#include "conv2d_matrices.glsl"

layout(constant_id = 31) const bool WHOLE_VECTORS = true;  // channels come in whole 16 bytes
layout(constant_id = 33) const bool HAS_PADDING = true;
layout(constant_id = 34) const bool SAME_PIXELS = false;  // output pixel n reads input pixel n only
layout(constant_id = 41) const bool SEVERAL_TILES = false;  // along M, one after the other
layout(constant_id = 35) const bool FOLDS_ROWS = false;  // a row of taps of one word is one tap

const int PASSES_M = TILE_M / ROWS_PER_PASS;
const int FIRST_WEIGHT = TILE_M * ROW_PAIRS;
const int OPERAND_PAIRS = (TILE_M + TILE_N) * ROW_PAIRS;

// Rows of activations, then rows of weights; in the end what each subgroup stores. Pairs of words, since
// the K of a matrix can be 8 bytes.
shared uvec2 tiles[OPERAND_PAIRS > RESULT_PAIRS ? OPERAND_PAIRS : RESULT_PAIRS];

#include "conv2d_matrix_sums.glsl"

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
void fetch_activations(int first_word) {
    int word = first_word + 4 * vector;
    int selected = 1 << tap.x | (FOLDS_ROWS ? 0 : 0x10000 << tap.y);
    ivec2 offset = tap * ivec2(dilation_height, dilation_width);
    int tap_address = (offset.x * in_width + offset.y) * input_words_per_pixel() + word;
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        next_activations[pass] = FOLDS_ROWS ? gather_row(pass, selected, tap_address, word)
                                            : gather(pass, selected, tap_address, word);
    }
    advance(CHUNK_VECTORS);
}

void fetch_weights(int chunk, int row_vectors) {
    [[unroll]] for (int pass = 0; pass < PASSES_N; pass++) {
        next_weights[pass] = weight_vectors[weight_row + pass * ROWS_PER_PASS * row_vectors +
                                            chunk * CHUNK_VECTORS];
    }
}

void place() {
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        place_vector((pass * ROWS_PER_PASS + lane_row) * ROW_PAIRS, lane_vector,
                     next_activations[pass]);
    }
    [[unroll]] for (int pass = 0; pass < PASSES_N; pass++) {
        place_vector(FIRST_WEIGHT + (pass * ROWS_PER_PASS + lane_row) * ROW_PAIRS, lane_vector,
                     next_weights[pass]);
    }
}

void begin_tile(int tile_m, int first_chunk) {
    locate_pixels(tile_m);
    locate_chunk(first_chunk);
}

int output_tile;  // along M, whose sums are being made

int output_pixel(int row) {
    int pixel = output_tile * TILE_M + row;
    return pixel < pixel_count ? (SPLITS_K > 1 ? 0 : first_pixel) + pixel : -1;
}

void main() {
    int subgroup = int(gl_LocalInvocationIndex) / SUBGROUP_SIZE;
    lane_vector = int(gl_LocalInvocationIndex) % CHUNK_VECTORS;
    lane_row = int(gl_LocalInvocationIndex) / CHUNK_VECTORS;
    // Tiles along N run side by side and share their activations.
    int tile_n = int(gl_WorkGroupID.x);
    int first_word = first_input_word(tile_n, TILE_N / 4);
    block_vectors = ((FOLDS_ROWS ? kernel_width : block_words) + 3) / 4;

    int subgroup_m = subgroup / SUBGROUPS_N * MATRICES_M * M_SIZE;
    int subgroup_n = subgroup % SUBGROUPS_N * SUBGROUP_N;
    int chunks = (k_vectors() + CHUNK_VECTORS - 1) / CHUNK_VECTORS;
    int first_chunk = chunks * int(gl_WorkGroupID.z) / SPLITS_K;
    int last_chunk = chunks * (int(gl_WorkGroupID.z) + 1) / SPLITS_K;
    int row_vectors = chunks * CHUNK_VECTORS;
    weight_row = (tile_n * TILE_N + lane_row) * row_vectors + lane_vector;
    output_tile = int(gl_WorkGroupID.y);
    begin_tile(output_tile, first_chunk);
    fetch_activations(first_word);
    fetch_weights(first_chunk, row_vectors);
    load_parameters(tile_n);
    barrier();
    int tiles_m = (pixel_count + TILE_M - 1) / TILE_M;
    while (true) {
        int next_tile = output_tile + int(gl_NumWorkGroups.y);
        bool has_next = SEVERAL_TILES && next_tile < tiles_m;
        begin_sums(subgroup_n);
        for (int chunk = first_chunk; chunk < last_chunk; chunk++) {
            place();
            barrier();
            if (chunk + 1 < last_chunk) {
                fetch_activations(first_word);
                fetch_weights(chunk + 1, row_vectors);
            } else if (has_next) {
                // While the products are made and stored.
                begin_tile(next_tile, first_chunk);
                fetch_activations(first_word);
                if (chunks > 1) fetch_weights(first_chunk, row_vectors);
            }
            multiply(subgroup_m, FIRST_WEIGHT + subgroup_n * ROW_PAIRS);
            barrier();
        }
        store_tile(tile_n, subgroup_m, subgroup_n);
        if (!has_next) return;
        barrier();
        output_tile = next_tile;
    }
}
