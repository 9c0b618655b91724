// Copies, for each output pixel and word of K = (tap, input channels), the activations that it
// reads into a matrix: word k, then pixel. Taps outside the image read the zero point.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "layout.glsl"
#include "conv2d.glsl"
#include "conv2d_address.glsl"

layout(set = 0, binding = 0) restrict readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) restrict writeonly buffer Scratch { int scratch_words[]; };

void main() {
    // Invocations past the end gather the last pixel once more and do not store it: parameters
    // that are read outside of any branch cost a CPU a fraction.
    int index = int(gl_GlobalInvocationID.x);
    int k = int(gl_WorkGroupID.y);
    int tap = divide(k, input_words_per_pixel());
    int channel_word = k - tap * input_words_per_pixel();
    int tap_h = divide(tap, kernel_width);
    int tap_w = tap - tap_h * kernel_width;
    Pixel pixel = pixel_of(first_pixel + min(index, pixel_count - 1));
    int h = pixel.oh * stride_height - padding_top + tap_h * dilation_height;
    int w = pixel.ow * stride_width - padding_left + tap_w * dilation_width;
    bool inside = h >= 0 && h < in_height && w >= 0 && w < in_width;
    int address = channel_word_address(INPUT_LAYOUT, input_dims(), pixel.n, channel_word, h, w);
    int word = input_words[inside ? address : 0];
    word = inside ? word : input_zero_word;
    if (index < pixel_count) scratch_words[k * pixel_count + index] = word;
}
