// The tile of TILE_PIXELS x (4 * TILE_WORDS) outputs that one invocation accumulates and stores.
#ifndef CONV2D_TILE_GLSL
#define CONV2D_TILE_GLSL

layout(constant_id = 3) const int TILE_PIXELS = 4;
layout(constant_id = 4) const int TILE_WORDS = 2;
layout(constant_id = 5) const int WEIGHT_PARTS = 1;  // 2: weights wider than int8, as a sum of two

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Weights { ivec4 weight_words[]; };
layout(set = 0, binding = 3) readonly buffer Channels { ivec4 channels[]; };

ivec4 accumulators[TILE_PIXELS * TILE_WORDS];
ACTIVATION activations[TILE_PIXELS];

int tile_pixel(int p) {
    return int(gl_WorkGroupID.x) * 64 * TILE_PIXELS + p * 64 + int(gl_LocalInvocationID.x);
}

// Pixels past the end repeat the last one: they are computed and not stored.
int clamped_pixel(int p) { return first_pixel + min(tile_pixel(p), pixel_count - 1); }

void clear_tile() {
    [[unroll]] for (int i = 0; i < TILE_PIXELS * TILE_WORDS; i++) accumulators[i] = ivec4(0);
}

// Multiplies the activations by the words of weights at `weight_index` and adds them up.
void accumulate(int weight_index) {
    [[unroll]] for (int o = 0; o < TILE_WORDS; o++) {
        ivec4 words = weight_words[weight_index + o];
        WEIGHT w0 = prepare_weight(words.x);
        WEIGHT w1 = prepare_weight(words.y);
        WEIGHT w2 = prepare_weight(words.z);
        WEIGHT w3 = prepare_weight(words.w);
        [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
            accumulators[p * TILE_WORDS + o] +=
                ivec4(dot4(activations[p], w0), dot4(activations[p], w1),
                      dot4(activations[p], w2), dot4(activations[p], w3));
        }
    }
}

void store_tile(int tile) {
    int out_words = (out_channels + 3) / 4;
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        Pixel pixel = pixel_at(clamped_pixel(p));
        [[unroll]] for (int o = 0; o < TILE_WORDS; o++) {
            int word = tile * TILE_WORDS + o;
            ivec4 lanes;
            [[unroll]] for (int j = 0; j < 4; j++) {
                ivec4 channel = channels[4 * word + j];
                lanes[j] = requantize(accumulators[p * TILE_WORDS + o][j] + channel.x, channel,
                                      output_zero_point, clamp_low, clamp_high);
            }
            if (tile_pixel(p) < pixel_count && word < out_words) {
                int address = channel_word_address(OUTPUT_LAYOUT, output_dims(), pixel.n, word,
                                                   pixel.oh, pixel.ow);
                output_words[address] = pack_int8(lanes);
            }
        }
    }
}

#endif
