// Mean of each window by ONNX Runtime's rule: dequantised values are summed in float32 in the order
// of the window; a row of thresholds per number of taps does the divisions and the rounding.
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
layout(set = 0, binding = 2) readonly buffer Thresholds { float thresholds[]; };
layout(set = 0, binding = 3) readonly buffer Rows { int row_of_count[]; };

#include "thresholds.glsl"

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
    int input_zero_point;
    float input_scale;
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
    ivec4 in_dims = ivec4(batch, channels, in_height, in_width);
    precise vec4 total = vec4(0.0);
    int count = 0;
    for (int kh = 0; kh < kernel_height; kh++) {
        int h = oh * stride_height - padding_top + kh * dilation_height;
        if (h < 0 || h >= in_height) continue;
        for (int kw = 0; kw < kernel_width; kw++) {
            int w = ow * stride_width - padding_left + kw * dilation_width;
            if (w < 0 || w >= in_width) continue;
            int address = channel_word_address(INPUT_LAYOUT, in_dims, n, channel_word, h, w);
            vec4 centred = vec4(unpack_int8(input_words[address]) - input_zero_point);
            precise vec4 real = centred * input_scale;
            total = total + real;
            count++;
        }
    }
    ivec4 lanes;
    [[unroll]] for (int lane = 0; lane < 4; lane++) {
        lanes[lane] = quantize_by_row(row_of_count[count], total[lane]);
    }
    ivec4 out_dims = ivec4(batch, channels, out_height, out_width);
    output_words[stored_address(OUTPUT_LAYOUT, out_dims, n, channel_word, oh, ow)] =
        pack_int8(lanes);
}
