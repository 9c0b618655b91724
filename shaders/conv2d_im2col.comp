// Copies, for each output pixel and word of K = (tap, input channels), the activations that it
// reads into a matrix: word k, then pixel. Taps outside the image read the zero point.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "layout.glsl"
#include "conv2d.glsl"

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Scratch { int scratch_words[]; };

void main() {
    int index = int(gl_GlobalInvocationID.x);
    if (index >= pixel_count) return;
    int k = int(gl_WorkGroupID.y);
    int channel_word = k % input_words_per_pixel();
    int tap = k / input_words_per_pixel();
    Pixel pixel = pixel_at(first_pixel + index);
    int h = pixel.oh * stride_height - padding_top + tap / kernel_width * dilation_height;
    int w = pixel.ow * stride_width - padding_left + tap % kernel_width * dilation_width;
    bool inside = h >= 0 && h < in_height && w >= 0 && w < in_width;
    int word = input_zero_word;
    if (inside) {
        word = input_words[channel_word_address(INPUT_LAYOUT, input_dims(), pixel.n, channel_word,
                                                h, w)];
    }
    scratch_words[k * pixel_count + index] = word;
}
