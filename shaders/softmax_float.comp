// Softmax over the channels of one pixel per workgroup, float32: exp(x - greatest) by a table, the
// sum in fixed point, where it is exact, and a division in integers, since a device's is not.
// The twin of quant/executorch.py: softmax.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "division.glsl"
#include "int8.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 3) const bool QUANTIZES = false;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
// By how far a value lies below the greatest: its exponential as float32, and in 2^-30.
layout(set = 0, binding = 2) readonly buffer Exponentials { ivec2 exponentials[]; };
layout(set = 0, binding = 3) readonly buffer Thresholds { float thresholds[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
};

shared int partial[64];
shared ivec2 partial_sums[64];

#include "thresholds.glsl"

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int pixel = int(gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);
    bool exists = pixel < batch * height * width;  // the same for the whole workgroup
    int w = pixel % width;
    int row = pixel / width;
    int h = row % height;
    int n = exists ? row / height : 0;
    ivec4 dims = ivec4(batch, channels, height, width);
    int words = (channels + 3) / 4;
    int first_read = channel_word_address(INPUT_LAYOUT, dims, n, 0, h, w);
    int read_stride = channel_word_stride(INPUT_LAYOUT, dims);
    // Of words where the output is quantised, else of single floats.
    int first_write = layout_address(OUTPUT_LAYOUT, dims, ivec4(n, 0, h, w));
    int write_stride = layout_address(OUTPUT_LAYOUT, dims, ivec4(0, QUANTIZES ? 4 : 1, 0, 0));
    if (QUANTIZES) {
        first_write /= 4;
        write_stride /= 4;
    }

    int greatest = -128;
    for (int word = lane; word < words; word += 64) {
        ivec4 x = unpack_int8(input_words[first_read + word * read_stride]);
        for (int j = 0; j < min(4, channels - 4 * word); j++) greatest = max(greatest, x[j]);
    }
    partial[lane] = greatest;
    barrier();
    // Every lane reduces for itself: one barrier instead of one per halving.
    for (int i = 0; i < 64; i++) greatest = max(greatest, partial[i]);

    ivec2 sum = ivec2(0);
    for (int word = lane; word < words; word += 64) {
        ivec4 x = unpack_int8(input_words[first_read + word * read_stride]);
        for (int j = 0; j < min(4, channels - 4 * word); j++) {
            int value = exponentials[greatest - x[j]].y;
            sum += ivec2(value >> 15, value & 0x7FFF);
        }
    }
    partial_sums[lane] = sum;
    barrier();
    sum = ivec2(0);
    for (int i = 0; i < 64; i++) sum += partial_sums[i];
    if (!exists) return;

    precise float high = float(sum.x) * (1.0 / 32768.0);
    precise float low = float(sum.y) * (1.0 / 1073741824.0);
    precise float total = high + low;
    for (int word = lane; word < words; word += 64) {
        ivec4 x = unpack_int8(input_words[first_read + word * read_stride]);
        ivec4 lanes = ivec4(0);
        for (int j = 0; j < min(4, channels - 4 * word); j++) {
            float y = divide_exactly(intBitsToFloat(exponentials[greatest - x[j]].x), total);
            if (QUANTIZES) {
                lanes[j] = quantize_by_row(0, y);
            } else {
                output_words[first_write + (4 * word + j) * write_stride] = floatBitsToInt(y);
            }
        }
        if (QUANTIZES) output_words[first_write + word * write_stride] = pack_int8(lanes);
    }
}
