// Moves the elements of one part (vkbackend/ops/strided_copy.py): an element's place in the part's
// box, written in mixed radix, gives the place of the input's element. Both are counted in NHWC
// order. One invocation per output word that the box touches.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 3) const bool WHOLE_WORDS = false;
layout(constant_id = 4) const bool FILLS = false;  // else bytes outside the box stay as they are

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Digits { ivec2 digits[]; };  // innermost first

layout(push_constant) uniform Parameters {
    int from_n;
    int from_c;
    int from_h;
    int from_w;
    int to_n;
    int to_c;
    int to_h;
    int to_w;
    int begin_n;
    int begin_c;
    int begin_h;
    int begin_w;
    int size_n;
    int size_c;
    int size_h;
    int size_w;
    int first_n;  // the box of output words that invocations are spread over
    int first_c;
    int first_h;
    int first_w;
    int span_n;
    int span_c;
    int span_h;
    int span_w;
    int offset;
    int digit_count;
    int fill_byte;
    int word_count;
};

// Element index in the input's storage of what stands at `at` in the part's box.
int source_address(ivec4 at) {
    int place = ((at.x * size_h + at.z) * size_w + at.w) * size_c + at.y;
    int from = offset;
    for (int i = 0; i < digit_count; i++) {
        ivec2 digit = digits[i];
        from += place % digit.x * digit.y;
        place /= digit.x;
    }
    int pixel = from / from_c;
    int row = pixel / from_w;
    ivec4 source = ivec4(row / from_h, from % from_c, row % from_h, pixel % from_w);
    return layout_address(INPUT_LAYOUT, ivec4(from_n, from_c, from_h, from_w), source);
}

void main() {
    int index = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (index >= word_count) return;
    ivec4 to_dims = ivec4(to_n, to_c, to_h, to_w);
    ivec4 begin = ivec4(begin_n, begin_c, begin_h, begin_w);
    ivec4 size = ivec4(size_n, size_c, size_h, size_w);
    ivec4 at = layout_position(OUTPUT_LAYOUT, ivec4(span_n, span_c, span_h, span_w), 4 * index)
        + ivec4(first_n, first_c, first_h, first_w);
    if (any(greaterThanEqual(at, to_dims))) return;
    int word = layout_address(OUTPUT_LAYOUT, to_dims, at) / 4;
    ivec4 within = at - begin;
    int result = fill_byte * 0x01010101;
    if (WHOLE_WORDS) {
        bool inside = all(greaterThanEqual(within, ivec4(0))) && all(lessThan(within, size));
        if (inside) {
            result = input_words[source_address(within) / 4];
        } else if (!FILLS) {
            return;
        }
    } else {
        if (!FILLS) result = output_words[word];
        for (int lane = 0; lane < 4 && at.y + lane < to_c; lane++) {
            ivec4 place = within + ivec4(0, lane, 0, 0);
            if (any(lessThan(place, ivec4(0))) || any(greaterThanEqual(place, size))) continue;
            int address = source_address(place);
            int byte = (input_words[address / 4] >> (8 * (address % 4))) & 255;
            result = bitfieldInsert(result, byte, 8 * lane, 8);
        }
    }
    output_words[word] = result;
}
