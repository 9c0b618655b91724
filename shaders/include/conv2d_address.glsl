// Which output pixels an invocation computes, where a pixel lies, and where its channels lie in
// memory: in few instructions, since short convolutions spend much of their time here.
#ifndef CONV2D_ADDRESS_GLSL
#define CONV2D_ADDRESS_GLSL

Pixel pixel_of(int index) {
    int row = divide(index, out_width);
    int image = ONE_IMAGE ? 0 : divide(row, out_height);
    return Pixel(image, row - image * out_height, index - row * out_width);
}

// Lanes that have something to do. A workgroup takes 64 * tile_pixels pixels; fewer, in a small
// image or at the end of a large one, go to as few lanes as can hold them, so that whole subgroups
// are idle; where lanes load for each other, no subgroup is partly idle.
int busy_lanes(const int tile_pixels) {
    int pixels = pixel_count - int(gl_WorkGroupID.x) * 64 * tile_pixels;
    int lanes = (pixels + tile_pixels - 1) / tile_pixels;
#if defined(DOT_LANES)
    int size = int(gl_SubgroupSize);
    lanes = (lanes + size - 1) / size * size;
#endif
    return min(lanes, 64);
}

bool is_idle(const int tile_pixels) {
    return int(gl_LocalInvocationID.x) >= busy_lanes(tile_pixels);
}

// Number of the p-th pixel of this invocation; the last ones may lie past the end.
int pixel_number(const int tile_pixels, int p) {
    return int(gl_WorkGroupID.x) * 64 * tile_pixels + p * busy_lanes(tile_pixels) +
           int(gl_LocalInvocationID.x);
}

// The same where an invocation takes neighbours within a row.
int tiles_per_row(const int tile_pixels) { return (out_width + tile_pixels - 1) / tile_pixels; }

bool is_idle_within_rows(const int tile_pixels) {
    int tiles = batch * out_height * tiles_per_row(tile_pixels) - int(gl_WorkGroupID.x) * 64;
#if defined(DOT_LANES)
    int size = int(gl_SubgroupSize);
    tiles = (tiles + size - 1) / size * size;
#endif
    return int(gl_LocalInvocationID.x) >= tiles;
}

// Past the end of a row, a number past the end of all pixels.
int pixel_number_within_rows(const int tile_pixels, int p) {
    int tile = int(gl_GlobalInvocationID.x);
    int row = divide(tile, tiles_per_row(tile_pixels));
    int column = (tile - row * tiles_per_row(tile_pixels)) * tile_pixels + p;
    return column < out_width ? row * out_width + column : pixel_count;
}

// Where an output word is stored, and where that of another tensor of its shape lies: not the same
// where the output is a slice of a larger tensor.
int stored_address(int n, int channel_word, int h, int w) {
    ivec4 dims = ivec4(batch, 4 * stored_words, out_height, out_width);
    return channel_word_address(OUTPUT_LAYOUT, dims, n, first_stored_word + channel_word, h, w);
}

int other_address(int n, int channel_word, int h, int w) {
    return channel_word_address(OUTPUT_LAYOUT, output_dims(), n, channel_word, h, w);
}

#endif
