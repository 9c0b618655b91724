// Each output pixel from one or four input pixels, by tables of rows and columns: (first, second,
// weight of the first, weight of the second). One invocation per word of four channels.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 3) const bool NEAREST = false;
layout(constant_id = 4) const bool FLOAT = false;  // weights are float32, else in 1 / 1024

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Rows { ivec4 rows[]; };
layout(set = 0, binding = 3) readonly buffer Columns { ivec4 columns[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int in_height;
    int in_width;
    int out_height;
    int out_width;
    int storage_offset;  // what a value gains in storage: values are rounded, not bytes
    int word_count;
    int first_stored_word;  // the output may be a slice of a larger tensor: slice.glsl
    int stored_words;
};

#include "slice.glsl"

int read_word(ivec4 at, int h, int w) {
    ivec4 dims = ivec4(batch, channels, in_height, in_width);
    return input_words[channel_word_address(INPUT_LAYOUT, dims, at.x, at.y / 4, h, w)];
}

ivec4 values_at(ivec4 at, int h, int w) {
    return unpack_int8(read_word(at, h, w)) - storage_offset;
}

ivec4 integer_mean(ivec4 at, ivec4 row, ivec4 column) {
    ivec4 first = values_at(at, row.x, column.x) * row.z + values_at(at, row.y, column.x) * row.w;
    ivec4 second = values_at(at, row.x, column.y) * row.z + values_at(at, row.y, column.y) * row.w;
    ivec4 total = first * column.z + second * column.w;
    return sign(total) * ((abs(total) + (1 << 19)) >> 20);
}

ivec4 float_mean(ivec4 at, ivec4 row, ivec4 column) {
    vec2 row_weights = intBitsToFloat(row.zw);
    vec2 column_weights = intBitsToFloat(column.zw);
    precise vec4 total = vec4(0.0);
    [[unroll]] for (int j = 0; j < 2; j++) {
        [[unroll]] for (int i = 0; i < 2; i++) {
            vec4 values = vec4(values_at(at, row[i], column[j]));
            precise vec4 in_row = values * row_weights[i];
            precise vec4 weighted = in_row * column_weights[j];
            total = total + weighted;
        }
    }
    precise vec4 rounded = total + 0.5;
    return ivec4(clamp(rounded, vec4(-1024.0), vec4(1024.0)));
}

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 dims = ivec4(batch, channels, out_height, out_width);
    ivec4 at = channel_word_position(OUTPUT_LAYOUT, dims, word);
    if (any(greaterThanEqual(at, dims))) return;
    ivec4 row = rows[at.z];
    ivec4 column = columns[at.w];
    int address = stored_address(OUTPUT_LAYOUT, dims, at.x, at.y / 4, at.z, at.w);
    if (NEAREST) {
        output_words[address] = read_word(at, row.x, column.x);
        return;
    }
    ivec4 mean = FLOAT ? float_mean(at, row, column) : integer_mean(at, row, column);
    int low = -128 - storage_offset;
    output_words[address] = pack_int8(clamp(mean, low, low + 255) + storage_offset);
}
