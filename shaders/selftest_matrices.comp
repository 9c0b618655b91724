// Asks a device whether its float16 matrices compute int8 products exactly, and whether int32 words
// pass through a matrix as they are: each workgroup multiplies two matrices over 1,024 values of K and
// adds a row of int32 words. The questions and answers are in vkbackend/device/selftest_matrices.py.
#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_control_flow_attributes : require
#pragma use_vulkan_memory_model

layout(local_size_x_id = 21) in;
layout(constant_id = 21) const int SUBGROUP_SIZE = 32;
layout(constant_id = 22) const int M_SIZE = 16;
layout(constant_id = 23) const int N_SIZE = 16;
layout(constant_id = 24) const int K_SIZE = 16;

layout(set = 0, binding = 0) readonly buffer Rows { uvec2 rows[]; };        // float16 [m][1024]
layout(set = 0, binding = 1) readonly buffer Columns { uvec2 columns[]; };  // float16 [n][1024]
layout(set = 0, binding = 2) readonly buffer Addends { int addends[]; };    // [n]
layout(set = 0, binding = 3) writeonly buffer Results { int results[]; };   // [m][n]

const int K = 1024;
const int ROW_PAIRS = K / 4;
const int ELEMENTS = M_SIZE * N_SIZE / SUBGROUP_SIZE;

#define SUMS coopmat<float, gl_ScopeSubgroup, M_SIZE, N_SIZE, gl_MatrixUseAccumulator>

void main() {
    int problem = int(gl_WorkGroupID.x);
    SUMS sums = SUMS(0);
    for (int k = 0; k < K; k += K_SIZE) {
        coopmat<float16_t, gl_ScopeSubgroup, M_SIZE, K_SIZE, gl_MatrixUseA> a;
        coopmat<float16_t, gl_ScopeSubgroup, K_SIZE, N_SIZE, gl_MatrixUseB> b;
        coopMatLoad(a, rows, problem * M_SIZE * ROW_PAIRS + k / 4, ROW_PAIRS,
                    gl_CooperativeMatrixLayoutRowMajor);
        coopMatLoad(b, columns, problem * N_SIZE * ROW_PAIRS + k / 4, ROW_PAIRS,
                    gl_CooperativeMatrixLayoutColumnMajor);
        sums = coopMatMulAdd(a, b, sums);
    }
    SUMS words;
    coopMatLoad(words, addends, problem * N_SIZE, 0, gl_CooperativeMatrixLayoutRowMajor);
    if (words.length() != ELEMENTS) return;  // the kernels count on it: nothing is right then
    [[unroll]] for (int e = 0; e < ELEMENTS; e++) {
        words[e] = intBitsToFloat(int(sums[e]) + floatBitsToInt(words[e]));
    }
    coopMatStore(words, results, problem * M_SIZE * N_SIZE, N_SIZE,
                 gl_CooperativeMatrixLayoutRowMajor);
}
