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
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#pragma use_vulkan_memory_model
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "requantize.glsl"
#include "conv2d_parameters.glsl"

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
layout(constant_id = 33) const bool WHOLE_OUTPUT_VECTORS = true;
layout(constant_id = 32) const int SPLITS_K = 1;     // more: sums of parts of K go to Scratch
layout(constant_id = 5) const int WEIGHT_PARTS = 1;

layout(set = 0, binding = 0) readonly buffer Input { uvec4 input_vectors[]; };
layout(set = 0, binding = 1) writeonly buffer Output { uvec4 output_vectors[]; };
layout(set = 0, binding = 2) readonly buffer Weights { uvec4 weight_vectors[]; };
layout(set = 0, binding = 3) readonly buffer Channels { ivec4 channels[]; };

const int CHUNK_VECTORS = CHUNK_K / 16;
const int ROW_PAIRS = 2 * CHUNK_VECTORS + 2;  // two spare pairs a row keep banks apart
const int ROWS_PER_PASS = LOCAL_SIZE / CHUNK_VECTORS;
const int PASSES_M = TILE_M / ROWS_PER_PASS;
const int PASSES_N = TILE_N / ROWS_PER_PASS;
const int SUBGROUP_N = MATRICES_N * N_SIZE;

// Pairs of words, since the K of a matrix can be 8 bytes.
shared uvec2 activations[TILE_M * ROW_PAIRS];
shared uvec2 weights[TILE_N * ROW_PAIRS];
shared int results[LOCAL_SIZE / SUBGROUP_SIZE * M_SIZE * SUBGROUP_N];

int lane_row;     // row of a pass, and vector of the chunk, that this invocation loads
int lane_vector;
int images[PASSES_M];
int origins_h[PASSES_M];
int origins_w[PASSES_M];
uvec4 next_activations[PASSES_M];
uvec4 next_weights[PASSES_N];

int block_vectors() { return (block_words + 3) / 4; }
int k_vectors() { return WEIGHT_PARTS * kernel_height * kernel_width * block_vectors(); }

uint input_word(int address) { return input_vectors[address / 4][address % 4]; }

// 16 bytes of K at one output pixel: four words from `word` on of the channels of one tap. Past
// the end of K anything will do: the weights are zero there.
uvec4 gather(int pass, ivec2 tap, int word) {
    int h = origins_h[pass] + tap.x * dilation_height;
    int w = origins_w[pass] + tap.y * dilation_width;
    if (h < 0 || h >= in_height || w < 0 || w >= in_width) return uvec4(input_zero_word);
    int words = input_words_per_pixel();
    int address = ((images[pass] * in_height + h) * in_width + w) * words + word;
    if (WHOLE_VECTORS) return input_vectors[address / 4];
    uvec4 result = uvec4(0);
    [[unroll]] for (int i = 0; i < 4; i++) {
        if (word + i < words) result[i] = input_word(address + i);
    }
    return result;
}

void fetch(int chunk, int first_word, int tile_n) {
    int k_vector = chunk * CHUNK_VECTORS + lane_vector;
    int tap = k_vector / block_vectors();
    int word = first_word + 4 * (k_vector - tap * block_vectors());
    tap %= kernel_height * kernel_width;
    ivec2 tap_at = ivec2(tap / kernel_width, tap % kernel_width);
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        next_activations[pass] = gather(pass, tap_at, word);
    }
    int row_vectors = (k_vectors() + CHUNK_VECTORS - 1) / CHUNK_VECTORS * CHUNK_VECTORS;
    [[unroll]] for (int pass = 0; pass < PASSES_N; pass++) {
        int channel = tile_n * TILE_N + pass * ROWS_PER_PASS + lane_row;
        next_weights[pass] = weight_vectors[channel * row_vectors + k_vector];
    }
}

void place() {
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        int pair = (pass * ROWS_PER_PASS + lane_row) * ROW_PAIRS + 2 * lane_vector;
        activations[pair] = next_activations[pass].xy;
        activations[pair + 1] = next_activations[pass].zw;
    }
    [[unroll]] for (int pass = 0; pass < PASSES_N; pass++) {
        int pair = (pass * ROWS_PER_PASS + lane_row) * ROW_PAIRS + 2 * lane_vector;
        weights[pair] = next_weights[pass].xy;
        weights[pair + 1] = next_weights[pass].zw;
    }
}

// Four requantised channels of one row of `results`.
uint requantized_word(int result, int channel) {
    ivec4 lanes;
    [[unroll]] for (int j = 0; j < 4; j++) {
        ivec4 parameters = channels[channel + j];
        lanes[j] = requantize(results[result + j] + parameters.x, parameters, output_zero_point,
                              clamp_low, clamp_high);
    }
    return uint(pack_int8(lanes));
}

// Stores 16 channels of one pixel that lie at `result` in shared memory.
void store(int pixel, int channel, int result) {
    int out_words = (out_channels + 3) / 4;
    if (pixel >= pixel_count || channel >= out_channels) return;
    if (SPLITS_K > 1) {
        int base = ((int(gl_WorkGroupID.z) * pixel_count + pixel) * 4 * out_words + channel) / 4;
        [[unroll]] for (int i = 0; i < 4; i++) {
            if (channel + 4 * i < out_channels) {
                output_vectors[base + i] = uvec4(results[result + 4 * i], results[result + 4 * i + 1],
                                                 results[result + 4 * i + 2],
                                                 results[result + 4 * i + 3]);
            }
        }
        return;
    }
    uvec4 vector = uvec4(0);
    [[unroll]] for (int i = 0; i < 4; i++) {
        vector[i] = requantized_word(result + 4 * i, channel + 4 * i);
    }
    int address = (first_pixel + pixel) * out_words + channel / 4;
    if (WHOLE_OUTPUT_VECTORS) {
        output_vectors[address / 4] = vector;
        return;
    }
    [[unroll]] for (int i = 0; i < 4; i++) {
        if (channel / 4 + i < out_words) output_vectors[(address + i) / 4][(address + i) % 4] = vector[i];
    }
}

void main() {
    int lane = int(gl_LocalInvocationIndex) % SUBGROUP_SIZE;
    int subgroup = int(gl_LocalInvocationIndex) / SUBGROUP_SIZE;
    lane_vector = int(gl_LocalInvocationIndex) % CHUNK_VECTORS;
    lane_row = int(gl_LocalInvocationIndex) / CHUNK_VECTORS;
    int tile_m = int(gl_WorkGroupID.x);
    int tile_n = int(gl_WorkGroupID.y);
    [[unroll]] for (int pass = 0; pass < PASSES_M; pass++) {
        int row = min(tile_m * TILE_M + pass * ROWS_PER_PASS + lane_row, pixel_count - 1);
        Pixel pixel = pixel_at(first_pixel + row);
        images[pass] = pixel.n;
        origins_h[pass] = pixel.oh * stride_height - padding_top;
        origins_w[pass] = pixel.ow * stride_width - padding_left;
    }
    int first_word = first_input_word(tile_n, TILE_N / 4);

    coopmat<int, gl_ScopeSubgroup, M_SIZE, N_SIZE, gl_MatrixUseAccumulator>
        sums[MATRICES_M * MATRICES_N];
    [[unroll]] for (int i = 0; i < MATRICES_M * MATRICES_N; i++) {
        sums[i] = coopmat<int, gl_ScopeSubgroup, M_SIZE, N_SIZE, gl_MatrixUseAccumulator>(0);
    }
    int subgroup_m = subgroup / SUBGROUPS_N * MATRICES_M * M_SIZE;
    int subgroup_n = subgroup % SUBGROUPS_N * SUBGROUP_N;

    int chunks = (k_vectors() + CHUNK_VECTORS - 1) / CHUNK_VECTORS;
    int first_chunk = chunks * int(gl_WorkGroupID.z) / SPLITS_K;
    int last_chunk = chunks * (int(gl_WorkGroupID.z) + 1) / SPLITS_K;
    if (first_chunk < last_chunk) fetch(first_chunk, first_word, tile_n);
    for (int chunk = first_chunk; chunk < last_chunk; chunk++) {
        barrier();
        place();
        barrier();
        if (chunk + 1 < last_chunk) fetch(chunk + 1, first_word, tile_n);
        [[unroll]] for (int k = 0; k < CHUNK_K; k += K_SIZE) {
            coopmat<int8_t, gl_ScopeSubgroup, M_SIZE, K_SIZE, gl_MatrixUseA> a[MATRICES_M];
            [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
                int row = subgroup_m + i * M_SIZE;
                coopMatLoad(a[i], activations, row * ROW_PAIRS + k / 8, ROW_PAIRS,
                            gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (int j = 0; j < MATRICES_N; j++) {
                coopmat<int8_t, gl_ScopeSubgroup, K_SIZE, N_SIZE, gl_MatrixUseB> b;
                int column = subgroup_n + j * N_SIZE;
                coopMatLoad(b, weights, column * ROW_PAIRS + k / 8, ROW_PAIRS,
                            gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
                    sums[i * MATRICES_N + j] = coopMatMulAdd(a[i], b, sums[i * MATRICES_N + j]);
                }
            }
        }
    }

    int block = subgroup * M_SIZE * SUBGROUP_N;
    [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
        barrier();
        [[unroll]] for (int j = 0; j < MATRICES_N; j++) {
            coopMatStore(sums[i * MATRICES_N + j], results, block + j * N_SIZE, SUBGROUP_N,
                         gl_CooperativeMatrixLayoutRowMajor);
        }
        barrier();
        // From a constant start, or the loop around it would not unroll.
        [[unroll]] for (int first = 0; first < M_SIZE * SUBGROUP_N / 16; first += SUBGROUP_SIZE) {
            int row = (first + lane) / (SUBGROUP_N / 16);
            int column = (first + lane) % (SUBGROUP_N / 16) * 16;
            if (row < M_SIZE) {
                store(tile_m * TILE_M + subgroup_m + i * M_SIZE + row,
                      tile_n * TILE_N + subgroup_n + column, block + row * SUBGROUP_N + column);
            }
        }
    }
}
