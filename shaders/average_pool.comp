// Mean of each window's integers, halves away from zero; taps outside the image do not count.
// One invocation per word of four channels of one output pixel.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int in_height;
    int in_width;
    int out_height;
    int out_width;
    int kernel_height;
    int kernel_width;
    int stride_height;
    int stride_width;
    int padding_top;
    int padding_left;
    int storage_offset;  // what a value gains in storage: the mean is of values, not of bytes
    int clamp_low;
    int clamp_high;
    int first_stored_word;  // the output may be a slice of a larger tensor: slice.glsl
    int stored_words;
};

#include "slice.glsl"

void main() {
    int pixel = int(gl_GlobalInvocationID.x);
    if (pixel >= batch * out_height * out_width) return;
    int channel_word = int(gl_WorkGroupID.y);
    int row = divide(pixel, out_width);
    int ow = pixel - row * out_width;
    int n = divide(row, out_height);
    int oh = row - n * out_height;
    int first_h = oh * stride_height - padding_top;
    int first_w = ow * stride_width - padding_left;
    int begin_h = max(first_h, 0);
    int begin_w = max(first_w, 0);
    int end_h = min(first_h + kernel_height, in_height);
    int end_w = min(first_w + kernel_width, in_width);
    ivec4 in_dims = ivec4(batch, channels, in_height, in_width);
    ivec4 total = ivec4(0);
    for (int h = begin_h; h < end_h; h++) {
        for (int w = begin_w; w < end_w; w++) {
            int address = channel_word_address(INPUT_LAYOUT, in_dims, n, channel_word, h, w);
            total += unpack_int8(input_words[address]);
        }
    }
    int count = (end_h - begin_h) * (end_w - begin_w);
    total -= storage_offset * count;
    ivec4 mean = sign(total) * ((abs(total) + count / 2) / count);
    ivec4 lanes = clamp(mean, ivec4(clamp_low), ivec4(clamp_high)) + storage_offset;
    ivec4 out_dims = ivec4(batch, channels, out_height, out_width);
    output_words[stored_address(OUTPUT_LAYOUT, out_dims, n, channel_word, oh, ow)] =
        pack_int8(lanes);
}
