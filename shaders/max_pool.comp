// Greatest value of each window; taps outside the image do not count. One invocation per word of
// four channels of one output pixel, in the order of the output.
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
    int dilation_height;
    int dilation_width;
    int first_stored_word;  // the output may be a slice of a larger tensor: slice.glsl
    int stored_words;
    int first_read_word;  // and so may the input
    int read_words;
};

#include "slice.glsl"

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    ivec4 out_dims = ivec4(batch, channels, out_height, out_width);
    if (word >= layout_words(OUTPUT_LAYOUT, out_dims)) return;
    ivec4 at = channel_word_position(OUTPUT_LAYOUT, out_dims, word);
    int channel_word = at.y / 4;
    ivec4 in_dims = ivec4(batch, 4 * read_words, in_height, in_width);
    int read_word = first_read_word + channel_word;
    ivec2 first = at.zw * ivec2(stride_height, stride_width) - ivec2(padding_top, padding_left);
    // Parameters are read before the loops: a CPU reads them again at each turn otherwise.
    ivec2 kernel = ivec2(kernel_height, kernel_width);
    ivec2 dilation = ivec2(dilation_height, dilation_width);
    ivec4 greatest = ivec4(-128);
    for (int tap_h = 0; tap_h < kernel.x; tap_h++) {
        int h = first.x + tap_h * dilation.x;
        bool row_inside = h >= 0 && h < in_dims.z;
        for (int tap_w = 0; tap_w < kernel.y; tap_w++) {
            int w = first.y + tap_w * dilation.y;
            bool inside = row_inside && w >= 0 && w < in_dims.w;
            int address = channel_word_address(INPUT_LAYOUT, in_dims, at.x, read_word, h, w);
            int taken = input_words[inside ? address : 0];
            greatest = max(greatest, inside ? unpack_int8(taken) : ivec4(-128));
        }
    }
    output_words[stored_address(OUTPUT_LAYOUT, out_dims, at.x, channel_word, at.z, at.w)] =
        pack_int8(greatest);
}
