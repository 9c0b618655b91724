// A long K shared among workgroups: part gl_WorkGroupID.z of each tap's input words is this one's,
// and its int32 sums go to scratch, as words of four channels: [part][channel word][pixel].
#ifndef CONV2D_SPLIT_GLSL
#define CONV2D_SPLIT_GLSL

// How many parts there are is no constant: one kernel serves layers that differ in it.
layout(constant_id = 32) const bool IS_PART = false;

// Words [x, y) of a tap's `words` that this workgroup adds up.
ivec2 own_words(int words) {
    int part = int(gl_WorkGroupID.z);
    if (!IS_PART) return ivec2(0, words);
    return ivec2(part, part + 1) * words / int(gl_NumWorkGroups.z);
}

void store_sums(int tile) {
    int out_words = (out_channels + 3) / 4;
    [[unroll]] for (int o = 0; o < TILE_WORDS; o++) {
        int word = tile * TILE_WORDS + o;
        int row = (int(gl_WorkGroupID.z) * out_words + word) * pixel_count;
        [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
            int pixel = tile_pixel(p);
            if (pixel < pixel_count && word < out_words) {
                [[unroll]] for (int j = 0; j < 4; j++) {
                    output_words[4 * (row + pixel) + j] = accumulators[p * TILE_WORDS + o][j];
                }
            }
        }
    }
}

// Outputs where all of K is added up, else their parts.
void store_part(int tile) {
    if (IS_PART) {
        store_sums(tile);
    } else {
        store_tile(tile);
    }
}

#endif
