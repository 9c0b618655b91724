// Where output words are stored: the output may be a slice of the channels of a larger tensor (its
// twin is Slice in vkbackend/ops/base.py). Both numbers are push constants of every such kernel.
#ifndef SLICE_GLSL
#define SLICE_GLSL

int stored_address(const int code, ivec4 dims, int n, int channel_word, int h, int w) {
    dims.y = 4 * stored_words;
    return channel_word_address(code, dims, n, first_stored_word + channel_word, h, w);
}

#endif
