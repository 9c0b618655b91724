// The tile of TILE_PIXELS x (4 * TILE_WORDS) outputs that one invocation accumulates and stores.
#ifndef CONV2D_TILE_GLSL
#define CONV2D_TILE_GLSL

#include "epilogue.glsl"

layout(constant_id = 3) const int TILE_PIXELS = 4;
layout(constant_id = 4) const int TILE_WORDS = 2;
layout(constant_id = 5) const int WEIGHT_PARTS = 1;  // 2: weights wider than int8, as a sum of two
layout(constant_id = 7) const bool LONG_SUMS = true;  // of more than 1,024 products

layout(set = 0, binding = 0) restrict readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) restrict writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) restrict readonly buffer Weights { ivec4 weight_words[]; };
layout(set = 0, binding = 3) restrict readonly buffer Channels { ivec4 channels[]; };

ivec4 accumulators[TILE_PIXELS * TILE_WORDS];
ACTIVATION activations[TILE_PIXELS];

#if defined(TILES_WITHIN_ROWS)
bool is_idle() { return is_idle_within_rows(TILE_PIXELS); }
int tile_pixel(int p) { return pixel_number_within_rows(TILE_PIXELS, p); }
#elif defined(TILES_SHARE_PIXELS)
layout(constant_id = 12) const int PIXEL_LANES = 16;  // the other lanes have other channels
int tile_pixel(int p) {
    int first = int(gl_WorkGroupID.x) * PIXEL_LANES * TILE_PIXELS;
    return first + p * PIXEL_LANES + int(gl_LocalInvocationID.x) % PIXEL_LANES;
}
#else
bool is_idle() { return is_idle(TILE_PIXELS); }
int tile_pixel(int p) { return pixel_number(TILE_PIXELS, p); }
#endif

// Pixels past the end repeat the last one: they are computed and not stored.
int clamped_pixel(int p) { return first_pixel + min(tile_pixel(p), pixel_count - 1); }

#if defined(DOT_FLOAT)
vec4 float_sums[TILE_PIXELS * TILE_WORDS];
int float_words;  // added up since the float sums went into the accumulators

void flush_float_sums() {
    [[unroll]] for (int i = 0; i < TILE_PIXELS * TILE_WORDS; i++) {
        accumulators[i] += ivec4(float_sums[i]);
        float_sums[i] = vec4(0);
    }
    float_words = 0;
}
#endif

void clear_tile() {
    [[unroll]] for (int i = 0; i < TILE_PIXELS * TILE_WORDS; i++) accumulators[i] = ivec4(0);
#if defined(DOT_FLOAT)
    [[unroll]] for (int i = 0; i < TILE_PIXELS * TILE_WORDS; i++) float_sums[i] = vec4(0);
    float_words = 0;
#endif
}

// Adds four input channels of four output channels to the sums of all pixels.
void add_word(const int o, ivec4 words) {
    WEIGHT w0 = prepare_weight(words.x);
    WEIGHT w1 = prepare_weight(words.y);
    WEIGHT w2 = prepare_weight(words.z);
    WEIGHT w3 = prepare_weight(words.w);
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
#if defined(DOT_FLOAT)
        float_sums[p * TILE_WORDS + o] +=
            vec4(dot4(activations[p], w0), dot4(activations[p], w1),
                 dot4(activations[p], w2), dot4(activations[p], w3));
#else
        accumulators[p * TILE_WORDS + o] +=
            ivec4(dot4(activations[p], w0), dot4(activations[p], w1),
                  dot4(activations[p], w2), dot4(activations[p], w3));
#endif
    }
}

// Multiplies the activations by the words of weights at `weight_index` and adds them up.
void accumulate(int weight_index) {
#if defined(DOT_LANES)
    // Each lane loads the weights of another output word, and they take turns in handing it out.
    int lane = min(int(gl_SubgroupInvocationID), TILE_WORDS - 1);
    ivec4 own = weight_words[weight_index + lane];
    [[unroll]] for (int o = 0; o < TILE_WORDS; o++) add_word(o, subgroupShuffle(own, uint(o)));
#else
    [[unroll]] for (int o = 0; o < TILE_WORDS; o++) add_word(o, weight_words[weight_index + o]);
#endif
#if defined(DOT_FLOAT)
    float_words++;
    if (LONG_SUMS && float_words == 256) flush_float_sums();
#endif
}

// Leaves all sums in the accumulators.
void finish_sums() {
#if defined(DOT_FLOAT)
    flush_float_sums();
#endif
}

int requantized(ivec4 sums, int lane, ivec4 channel) {
    return requantize(sums[lane] + channel.x, channel, output_zero_point, clamp_low, clamp_high);
}

int stored_addresses[TILE_PIXELS];
int other_addresses[TILE_PIXELS];

void locate_outputs(int tile) {
    [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
        Pixel at = pixel_of(clamped_pixel(p));
        stored_addresses[p] = stored_address(at.n, tile * TILE_WORDS, at.oh, at.ow);
        other_addresses[p] = other_address(at.n, tile * TILE_WORDS, at.oh, at.ow);
    }
}

// Channel parameters are read once for all pixels, addresses once for all channels.
void store_tile(int tile) {
    int out_words = (out_channels + 3) / 4;
    int stride = stored_address(0, 1, 0, 0) - stored_address(0, 0, 0, 0);
    int other_stride = other_address(0, 1, 0, 0);
    [[unroll]] for (int o = 0; o < TILE_WORDS; o++) {
        int word = tile * TILE_WORDS + o;
#if defined(DOT_LANES)
        ivec4 own = channels[4 * word + (int(gl_SubgroupInvocationID) & 3)];
        ivec4 c0 = subgroupShuffle(own, 0u);
        ivec4 c1 = subgroupShuffle(own, 1u);
        ivec4 c2 = subgroupShuffle(own, 2u);
        ivec4 c3 = subgroupShuffle(own, 3u);
#else
        ivec4 c0 = channels[4 * word];
        ivec4 c1 = channels[4 * word + 1];
        ivec4 c2 = channels[4 * word + 2];
        ivec4 c3 = channels[4 * word + 3];
#endif
        [[unroll]] for (int p = 0; p < TILE_PIXELS; p++) {
            ivec4 sums = accumulators[p * TILE_WORDS + o];
            ivec4 lanes = ivec4(requantized(sums, 0, c0), requantized(sums, 1, c1),
                                requantized(sums, 2, c2), requantized(sums, 3, c3));
            if (tile_pixel(p) < pixel_count && word < out_words) {
                int other = other_addresses[p] + o * other_stride;
                output_words[stored_addresses[p] + o * stride] = finished_word(lanes, other);
            }
        }
    }
}

#endif
