// Four int8 values in a 32-bit word, byte 0 first; and their dot products in five forms.
// DOT_SIGNED and DOT_MIXED are one instruction where the device has it. Mixed and lanes take
// activations shifted by 128 to unsigned: the host folds the shift into the bias. DOT_LANES is for
// CPUs, where a load goes lane by lane even if all lanes want the same word (conv2d_tile.glsl).
// DOT_FLOAT is for GPUs that multiply floats faster than integers. It is exact: every product and
// every sum of up to 1,024 of them is an integer of at most 2^24, which float32 holds, so that
// neither their order nor fusing a product with a sum can change a bit.
#ifndef INT8_GLSL
#define INT8_GLSL

ivec4 unpack_int8(int word) {
    return ivec4(bitfieldExtract(word, 0, 8), bitfieldExtract(word, 8, 8),
                 bitfieldExtract(word, 16, 8), bitfieldExtract(word, 24, 8));
}

int pack_int8(ivec4 lanes) {
    return (lanes.x & 255) | (lanes.y & 255) << 8 | (lanes.z & 255) << 16 | lanes.w << 24;
}

#if defined(DOT_SIGNED)
#define ACTIVATION int
#define WEIGHT int
ACTIVATION prepare_activation(int word) { return word; }
WEIGHT prepare_weight(int word) { return word; }
int dot4(ACTIVATION x, WEIGHT w) { return dotPacked4x8EXT(x, w); }
#elif defined(DOT_MIXED)
#define ACTIVATION uint
#define WEIGHT int
ACTIVATION prepare_activation(int word) { return uint(word) ^ 0x80808080u; }
WEIGHT prepare_weight(int word) { return word; }
int dot4(ACTIVATION x, WEIGHT w) { return dotPacked4x8EXT(x, w); }
#elif defined(DOT_LANES)
// Unpacked at each use: LLVM multiplies faster where it sees in the same block how small they are.
#define ACTIVATION uint
#define WEIGHT ivec4
ACTIVATION prepare_activation(int word) { return uint(word) ^ 0x80808080u; }
WEIGHT prepare_weight(int word) { return unpack_int8(word); }
ivec4 unpack_activation(ACTIVATION x) {
    return ivec4(x & 255u, x >> 8 & 255u, x >> 16 & 255u, x >> 24);
}
int dot4(ACTIVATION x, WEIGHT w) {
    ivec4 product = unpack_activation(x) * w;
    return product.x + product.y + product.z + product.w;
}
#elif defined(DOT_FLOAT)
#define ACTIVATION vec4
#define WEIGHT vec4
ACTIVATION prepare_activation(int word) { return vec4(unpack_int8(word)); }
WEIGHT prepare_weight(int word) { return vec4(unpack_int8(word)); }
float dot4(ACTIVATION x, WEIGHT w) { return dot(x, w); }
#else
#define ACTIVATION ivec4
#define WEIGHT ivec4
ACTIVATION prepare_activation(int word) { return unpack_int8(word); }
ivec4 unpack_activation(ACTIVATION x) { return x; }
WEIGHT prepare_weight(int word) { return unpack_int8(word); }
int dot4(ACTIVATION x, WEIGHT w) {
    ivec4 product = x * w;
    return product.x + product.y + product.z + product.w;
}
#endif

#endif
