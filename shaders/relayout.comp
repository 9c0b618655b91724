// Copies a tensor of bytes from one layout to another; with RESHAPE, element i in NCHW order of
// the source becomes element i of a target with other dimensions. One invocation per target word.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 3) const bool RESHAPE = false;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };

layout(push_constant) uniform Parameters {
    int from_n;
    int from_c;
    int from_h;
    int from_w;
    int to_n;
    int to_c;
    int to_h;
    int to_w;
    int flip_word;  // bits that change: 0x80808080 between uint8 and its int8 storage
    int word_count;
};

ivec4 source_position(ivec4 at) {
    if (!RESHAPE) return at;
    int index = ((at.x * to_c + at.y) * to_h + at.z) * to_w + at.w;
    int row = index / from_w;
    int plane = row / from_h;
    return ivec4(plane / from_c, plane % from_c, row % from_h, index % from_w);
}

int read_byte(ivec4 at) {
    ivec4 from_dims = ivec4(from_n, from_c, from_h, from_w);
    int address = layout_address(INPUT_LAYOUT, from_dims, source_position(at));
    return (input_words[address / 4] >> (8 * (address % 4))) & 255;
}

// Lanes of a word keep their order where both sides pack the same dimension: copy it whole.
bool same_lanes() {
    return !RESHAPE && layout_inner(INPUT_LAYOUT) == layout_inner(OUTPUT_LAYOUT)
        && layout_inner_block(INPUT_LAYOUT) == 4 && layout_inner_block(OUTPUT_LAYOUT) == 4;
}

// Where a lane of a target word lies; the lanes of a packed word follow each other.
ivec4 lane_position(ivec4 first, ivec4 to_dims, int word, const int lane) {
    if (layout_inner_block(OUTPUT_LAYOUT) != 4) {
        return layout_position(OUTPUT_LAYOUT, to_dims, 4 * word + lane);
    }
    first[layout_inner(OUTPUT_LAYOUT)] += lane;
    return first;
}

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 to_dims = ivec4(to_n, to_c, to_h, to_w);
    ivec4 first = layout_position(OUTPUT_LAYOUT, to_dims, 4 * word);
    int result = 0;
    if (same_lanes()) {
        if (all(lessThan(first, to_dims))) {
            result = input_words[layout_address(INPUT_LAYOUT, to_dims, first) / 4];
        }
    } else {
        [[unroll]] for (int lane = 0; lane < 4; lane++) {
            ivec4 at = lane_position(first, to_dims, word, lane);
            if (all(lessThan(at, to_dims))) result |= read_byte(at) << (8 * lane);
        }
    }
    output_words[word] = result ^ flip_word;
}
