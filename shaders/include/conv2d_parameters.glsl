// Sizes of a convolution, in push constants, and what follows from them.
#ifndef CONV2D_PARAMETERS_GLSL
#define CONV2D_PARAMETERS_GLSL

layout(push_constant) uniform Parameters {
    int batch;
    int in_channels;
    int in_height;
    int in_width;
    int out_channels;
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
    int group_in_channels;
    int group_out_channels;
    int block_words;        // input words that the outputs of one tile read per tap
    int input_zero_word;    // what a tap outside the image reads
    int output_zero_point;
    int clamp_low;
    int clamp_high;
    int first_pixel;        // this dispatch computes pixels first_pixel ... + pixel_count - 1
    int pixel_count;
    int first_stored_word;  // of channels: the output may be a slice of a larger tensor
    int stored_words;       // of that tensor
    int sum_a_offset;       // of epilogue.glsl, from here on
    int sum_b_offset;
    int sum_output_storage_offset;
    float sum_a_scale;
    float sum_b_scale;
    float sum_offset;
};

ivec4 input_dims() { return ivec4(batch, in_channels, in_height, in_width); }
ivec4 output_dims() { return ivec4(batch, out_channels, out_height, out_width); }
int input_words_per_pixel() { return (in_channels + 3) / 4; }

struct Pixel { int n; int oh; int ow; };

Pixel pixel_at(int index) {
    int row = index / out_width;
    return Pixel(row / out_height, row % out_height, index % out_width);
}

// First input word of the channels that a tile of output words reads (weights of other groups
// that share those words are zero): the twin of Geometry.first_input_word.
int first_input_word(int tile, int tile_words) {
    int group = tile * tile_words * 4 / group_out_channels;
    return min(group * group_in_channels / 4, input_words_per_pixel() - block_words);
}

#endif
