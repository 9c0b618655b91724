// The tile of TILE_PIXELS x (4 * TILE_WORDS) outputs that one invocation accumulates and stores.
#ifndef CONV2D_TILE_GLSL
#define CONV2D_TILE_GLSL

layout(constant_id = 3) const int TILE_PIXELS = 4;
layout(constant_id = 4) const int TILE_WORDS = 2;
layout(constant_id = 5) const int WEIGHT_PARTS = 1;  // 2: weights wider than int8, as a sum of two

layout(set = 0, binding = 0) restrict readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) restrict writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) restrict readonly buffer Weights { ivec4 weight_words[]; };
layout(set = 0, binding = 3) restrict readonly buffer Channels { ivec4 channels[]; };

ivec4 accumulators[TILE_PIXELS * TILE_WORDS];
ACTIVATION activations[TILE_PIXELS];

bool is_idle() { return is_idle(TILE_PIXELS); }

int tile_pixel(int p) { return pixel_number(TILE_PIXELS, p); }

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

int requantized(ivec4 sums, int lane, ivec4 channel) {
    return requantize(sums[lane] + channel.x, channel, output_zero_point, clamp_low, clamp_high);
}

// Channel parameters are read once for all pixels, addresses once for all channels.
void store_tile(int tile) {
    int out_words = (out_channels + 3) / 4;
    int stride = word_stride(OUTPUT_LAYOUT, output_dims());
    int output_addresses[TILE_PIXELS];
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        Pixel at = pixel_of(clamped_pixel(p));
        output_addresses[p] =
            word_address(OUTPUT_LAYOUT, output_dims(), at.n, tile * TILE_WORDS, at.oh, at.ow);
    }
    [[unroll]] for (int o = 0; o < TILE_WORDS; o++) {
        int word = tile * TILE_WORDS + o;
        ivec4 c0 = channels[4 * word];
        ivec4 c1 = channels[4 * word + 1];
        ivec4 c2 = channels[4 * word + 2];
        ivec4 c3 = channels[4 * word + 3];
        [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
            ivec4 sums = accumulators[p * TILE_WORDS + o];
            ivec4 lanes = ivec4(requantized(sums, 0, c0), requantized(sums, 1, c1),
                                requantized(sums, 2, c2), requantized(sums, 3, c3));
            if (tile_pixel(p) < pixel_count && word < out_words) {
                output_words[output_addresses[p] + o * stride] = pack_int8(lanes);
            }
        }
    }
}

#endif
