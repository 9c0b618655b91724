// The sums of a workgroup's tile: how they begin, how products are added, and how they come to the
// output, or to scratch where parts of K are still to be added up. The including kernel has declared
// `tiles`, shared memory of RESULT_PAIRS or more, and says where a row of its tile lies.
#ifndef CONV2D_MATRIX_SUMS_GLSL
#define CONV2D_MATRIX_SUMS_GLSL

int output_pixel(int row);  // -1: the tile's row is no output

// A channel's bias and parameters, each word in the order of the matrices' columns.
shared int parameters[4 * TILE_N];

void load_parameters(int tile_n) {
    for (int i = int(gl_LocalInvocationIndex); i < TILE_N; i += LOCAL_SIZE) {
        int block = i / (4 * N_SIZE) * 4 * N_SIZE;
        int channel = block + i % N_SIZE * 4 + i / N_SIZE % 4;
        ivec4 words = channels[tile_n * TILE_N + channel];
        [[unroll]] for (int w = 0; w < 4; w++) parameters[w * TILE_N + i] = words[w];
    }
}

// 16 int8 values of a row into `tiles`; a pair holds eight bytes of elements.
void place_vector(int row_pair, int vector, uvec4 words) {
    int pair = row_pair + 2 * ELEMENT_BYTES * vector;
#if defined(ELEMENT_FLOAT16)
    [[unroll]] for (int w = 0; w < 4; w++) {
        vec4 values = vec4(unpack_int8(int(words[w])));
        tiles[pair + w] = uvec2(packHalf2x16(values.xy), packHalf2x16(values.zw));
    }
#else
    tiles[pair] = words.xy;
    tiles[pair + 1] = words.zw;
#endif
}

#if defined(ELEMENT_FLOAT16)
const int EXACT_PRODUCTS = 1024;
const int ELEMENTS = M_SIZE * N_SIZE / SUBGROUP_SIZE;  // of a matrix, in one invocation

int totals[MATRICES_M * MATRICES_N * ELEMENTS];
int added_products;

#define TOTAL(matrix, element) totals[(matrix) * ELEMENTS + (element)]

void flush_sums() {
    [[unroll]] for (int i = 0; i < MATRICES_M * MATRICES_N; i++) {
        [[unroll]] for (int e = 0; e < ELEMENTS; e++) {
            TOTAL(i, e) += int(sums[i][e]);
        }
        sums[i] = SUMS(0);
    }
    added_products = 0;
}
#else
#define ELEMENTS sums[0].length()
#define TOTAL(matrix, element) sums[matrix][element]
#endif

// The sums begin with the bias: every row of a matrix is the same row of parameters.
void begin_sums(int subgroup_n) {
    [[unroll]] for (int j = 0; j < MATRICES_N; j++) {
        SUMS first = SUMS(0);
        if (SPLITS_K == 1) {
            coopMatLoad(first, parameters, subgroup_n + j * N_SIZE, 0, ROW_MAJOR);
        }
        [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
#if defined(ELEMENT_FLOAT16)
            [[unroll]] for (int e = 0; e < ELEMENTS; e++) {
                TOTAL(i * MATRICES_N + j, e) = SUM_BITS(first[e]);
            }
            sums[i * MATRICES_N + j] = SUMS(0);
            added_products = 0;
#else
            sums[i * MATRICES_N + j] = first;
#endif
        }
    }
}

// Adds the products of a chunk of K: rows of activations and of weights, each CHUNK_K values.
void multiply(int first_row, int first_weight) {
    [[unroll]] for (int k = 0; k < CHUNK_K; k += K_SIZE) {
        int pair = ELEMENT_BYTES * k / 8;
        coopmat<ELEMENT, gl_ScopeSubgroup, M_SIZE, K_SIZE, gl_MatrixUseA> a[MATRICES_M];
        [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
            int row = first_row + i * M_SIZE;
            coopMatLoad(a[i], tiles, row * ROW_PAIRS + pair, ROW_PAIRS, ROW_MAJOR);
        }
        [[unroll]] for (int j = 0; j < MATRICES_N; j++) {
            coopmat<ELEMENT, gl_ScopeSubgroup, K_SIZE, N_SIZE, gl_MatrixUseB> b;
            coopMatLoad(b, tiles, first_weight + j * N_SIZE * ROW_PAIRS + pair, ROW_PAIRS,
                        COLUMN_MAJOR);
            [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
                sums[i * MATRICES_N + j] = coopMatMulAdd(a[i], b, sums[i * MATRICES_N + j]);
            }
        }
    }
#if defined(ELEMENT_FLOAT16)
    added_products += CHUNK_K;
    if (added_products == EXACT_PRODUCTS) flush_sums();
#endif
}

void requantize_sums(int subgroup_n) {
    [[unroll]] for (int j = 0; j < MATRICES_N; j++) {
        SUMS words[3];
        [[unroll]] for (int w = 0; w < 3; w++) {
            words[w] = SUMS(0);
            int at = (w + 1) * TILE_N + subgroup_n + j * N_SIZE;
            if (w < PARAMETER_WORDS) coopMatLoad(words[w], parameters, at, 0, ROW_MAJOR);
        }
        [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
            [[unroll]] for (int e = 0; e < ELEMENTS; e++) {
                ivec4 channel = ivec4(0, SUM_BITS(words[0][e]), SUM_BITS(words[1][e]),
                                      SUM_BITS(words[2][e]));
                TOTAL(i * MATRICES_N + j, e) =
                    requantize(TOTAL(i * MATRICES_N + j, e), channel, output_zero_point, clamp_low,
                               clamp_high);
            }
        }
    }
}

// Four channels of every place of four neighbouring matrices, the first of which is given.
SUMS packed_words(const int first) {
    SUMS words;
    [[unroll]] for (int e = 0; e < ELEMENTS; e++) {
        words[e] = BITS_SUM(pack32(i8vec4(TOTAL(first, e), TOTAL(first + 1, e),
                                          TOTAL(first + 2, e), TOTAL(first + 3, e))));
    }
    return words;
}

// A matrix of sums, each an int32.
SUMS total_words(const int matrix) {
#if defined(ELEMENT_FLOAT16)
    SUMS words;
    [[unroll]] for (int e = 0; e < ELEMENTS; e++) words[e] = BITS_SUM(TOTAL(matrix, e));
    return words;
#else
    return sums[matrix];
#endif
}

// Vectors of the second tensor that this invocation adds: loaded together, before their need. (Not
// while the products are made: two workgroups on a multiprocessor need the registers.)
const int STORED_VECTORS = MATRICES_M * ROUNDS;
int stored_pixels[STORED_VECTORS];  // -1 where there is none
ivec4 others[STORED_VECTORS];

// First word of the vector of every row that this invocation stores.
int stored_word(int tile_n, int subgroup_n) {
    return (tile_n * TILE_N + subgroup_n) / 4 + 4 * (int(gl_LocalInvocationIndex) % ROW_VECTORS);
}

void locate_outputs(int tile_n, int subgroup_m, int subgroup_n) {
    int out_words = (out_channels + 3) / 4;
    int word = stored_word(tile_n, subgroup_n);
    int lane_row = int(gl_LocalInvocationIndex) % SUBGROUP_SIZE / ROW_VECTORS;
    [[unroll]] for (int i = 0; i < STORED_VECTORS; i++) {
        int row = i % ROUNDS * ROWS_PER_ROUND + lane_row;
        int pixel = row < M_SIZE ? output_pixel(subgroup_m + i / ROUNDS * M_SIZE + row) : -1;
        stored_pixels[i] = word < out_words ? pixel : -1;
    }
    [[unroll]] for (int i = 0; i < STORED_VECTORS; i++) {
        others[i] = ivec4(0);
        if (!READS_OTHER || stored_pixels[i] < 0) continue;
        int address = stored_pixels[i] * out_words + word;
        if (WHOLE_OUTPUTS) {
            others[i] = other_vectors[address / 4];
        } else {
            [[unroll]] for (int k = 0; k < 4; k++) {
                if (word + k < out_words) others[i][k] = other_word(address + k);
            }
        }
    }
}

void store_vector(int pixel, int word, int out_words, ivec4 found, ivec4 other) {
    int address = pixel * stored_words + first_stored_word + word;
    if (EPILOGUE != 0) {
        [[unroll]] for (int k = 0; k < 4; k++) {
            found[k] = finished_with(unpack_int8(found[k]), other[k]);
        }
    }
    // The output may be a slice of a larger tensor, which begins at any word.
    if (WHOLE_OUTPUTS && ((stored_words | first_stored_word) & 3) == 0) {
        output_vectors[address / 4] = uvec4(found);
    } else {
        [[unroll]] for (int k = 0; k < 4; k++) {
            int at = address + k;
            if (word + k < out_words) output_vectors[at / 4][at % 4] = uint(found[k]);
        }
    }
}

void store_outputs(int tile_n, int subgroup_m, int subgroup_n, int staged) {
    int lane = int(gl_LocalInvocationIndex) % SUBGROUP_SIZE;
    int column = lane % ROW_VECTORS;
    int word = stored_word(tile_n, subgroup_n);
    int out_words = (out_channels + 3) / 4;
    locate_outputs(tile_n, subgroup_m, subgroup_n);
    requantize_sums(subgroup_n);
    [[unroll]] for (int i = 0; i < MATRICES_M; i++) {
        subgroupBarrier();
        [[unroll]] for (int j = 0; j < MATRICES_N; j += 4) {
            coopMatStore(packed_words(i * MATRICES_N + j), tiles, staged + j * N_SIZE / 8,
                         WORD_ROW_PAIRS, ROW_MAJOR);
        }
        subgroupBarrier();
        [[unroll]] for (int round = 0; round < ROUNDS; round++) {
            int row = round * ROWS_PER_ROUND + lane / ROW_VECTORS;
            int pair = staged + row * WORD_ROW_PAIRS + 2 * column;
            int pixel = stored_pixels[i * ROUNDS + round];
            if (pixel >= 0) {
                ivec4 found = ivec4(tiles[pair], tiles[pair + 1]);
                store_vector(pixel, word, out_words, found, others[i * ROUNDS + round]);
            }
        }
    }
}

void store_parts(int tile_n, int subgroup_m, int subgroup_n, int staged) {
    int lane = int(gl_LocalInvocationIndex) % SUBGROUP_SIZE;
    int out_words = (out_channels + 3) / 4;
    int part = int(gl_WorkGroupID.z) * pixel_count;
    [[unroll]] for (int i = 0; i < MATRICES_M * MATRICES_N; i += 4) {
        subgroupBarrier();
        [[unroll]] for (int j = 0; j < 4; j++) {
            coopMatStore(total_words(i + j), tiles, staged + j * SUM_PAIRS, SUM_ROW_PAIRS, ROW_MAJOR);
        }
        subgroupBarrier();
        [[unroll]] for (int first = 0; first < M_SIZE * N_SIZE; first += SUBGROUP_SIZE) {
            int row = (first + lane) / N_SIZE;
            int column = (first + lane) % N_SIZE;
            int pixel = row < M_SIZE ? output_pixel(subgroup_m + i / MATRICES_N * M_SIZE + row) : -1;
            int word = (tile_n * TILE_N + subgroup_n + i % MATRICES_N * N_SIZE) / 4 + column;
            if (pixel < 0 || word >= out_words) continue;
            uvec4 found;
            [[unroll]] for (int j = 0; j < 4; j++) {
                int pair = staged + j * SUM_PAIRS + row * SUM_ROW_PAIRS + column / 2;
                found[j] = tiles[pair][column % 2];
            }
            output_vectors[(part + pixel) * out_words + word] = found;
        }
    }
}

void store_tile(int tile_n, int subgroup_m, int subgroup_n) {
    int staged = int(gl_LocalInvocationIndex) / SUBGROUP_SIZE * STAGED_PAIRS;
#if defined(ELEMENT_FLOAT16)
    flush_sums();
#endif
    if (SPLITS_K > 1) {
        store_parts(tile_n, subgroup_m, subgroup_n, staged);
    } else {
        store_outputs(tile_n, subgroup_m, subgroup_n, staged);
    }
}

#endif
