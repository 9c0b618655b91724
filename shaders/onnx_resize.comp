// Bilinear resizing by ONNX Runtime's float rule: four dequantised values, each times the product of
// its row's and column's weight, summed in that order, then quantised by thresholds.
// One invocation per word of four channels.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"
#include "rounding.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
// By output row and column: first and second position, and the bits of their weights.
layout(set = 0, binding = 2) readonly buffer Rows { ivec4 rows[]; };
layout(set = 0, binding = 3) readonly buffer Columns { ivec4 columns[]; };
layout(set = 0, binding = 4) readonly buffer Thresholds { float thresholds[]; };

#include "thresholds.glsl"

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int in_height;
    int in_width;
    int out_height;
    int out_width;
    int input_zero_point;
    float input_scale;
    float output_inverse_scale;
    int output_zero_point;
    int word_count;
    int first_stored_word;  // the output may be a slice of a larger tensor: slice.glsl
    int stored_words;
};

#include "slice.glsl"

vec4 weighted(ivec4 at, int h, int w, float row_weight, float column_weight) {
    ivec4 dims = ivec4(batch, channels, in_height, in_width);
    int address = channel_word_address(INPUT_LAYOUT, dims, at.x, at.y / 4, h, w);
    vec4 centred = vec4(unpack_int8(input_words[address]) - input_zero_point);
    precise vec4 real = centred * input_scale;
    precise float weight = column_weight * row_weight;
    precise vec4 result = weight * real;
    return result;
}

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 dims = ivec4(batch, channels, out_height, out_width);
    ivec4 at = channel_word_position(OUTPUT_LAYOUT, dims, word);
    if (any(greaterThanEqual(at, dims))) return;
    ivec4 row = rows[at.z];
    ivec4 column = columns[at.w];
    vec2 row_weights = intBitsToFloat(row.zw);
    vec2 column_weights = intBitsToFloat(column.zw);
    precise vec4 total = weighted(at, row.x, column.x, row_weights.x, column_weights.x);
    total = total + weighted(at, row.x, column.y, row_weights.x, column_weights.y);
    total = total + weighted(at, row.y, column.x, row_weights.y, column_weights.x);
    total = total + weighted(at, row.y, column.y, row_weights.y, column_weights.y);
    ivec4 lanes;
    float low = float(-128 - output_zero_point);
    ivec4 guess = nearest_whole(clamp(total * output_inverse_scale, low, low + 255.0));
    [[unroll]] for (int lane = 0; lane < 4; lane++) {
        lanes[lane] = quantize_near(0, total[lane], guess[lane] + output_zero_point);
    }
    output_words[stored_address(OUTPUT_LAYOUT, dims, at.x, at.y / 4, at.z, at.w)] =
        pack_int8(lanes);
}
