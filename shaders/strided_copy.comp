// Moves the elements of one part (vkbackend/ops/strided_copy.py): an element's place in the part's
// box, written in mixed radix, gives the place of the input's element. Both are counted in NHWC
// order. Where pixels stay, a table of channels says it all.
// One invocation per output word that the box touches.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 3) const bool WHOLE_WORDS = false;
layout(constant_id = 4) const bool FILLS = false;  // else bytes outside the box stay as they are
layout(constant_id = 5) const bool PIXELS_STAY = false;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) buffer Output { int output_words[]; };
// Digits (extent, stride), innermost first; where pixels stay, 32 * word + bit by channel.
layout(set = 0, binding = 2) readonly buffer Places { int places[]; };

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

ivec4 from_dims() { return ivec4(from_n, from_c, from_h, from_w); }

// Word of the input, and first bit in it, of what stands at `at` in the part's box.
ivec2 source_of(ivec4 at) {
    int place = ((at.x * size_h + at.z) * size_w + at.w) * size_c + at.y;
    int from = offset;
    for (int i = 0; i < digit_count; i++) {
        int extent = places[2 * i];
        int rest = divide(place, extent);
        from += (place - rest * extent) * places[2 * i + 1];
        place = rest;
    }
    int pixel = divide(from, from_c);
    int channel = from - pixel * from_c;
    int row = divide(pixel, from_w);
    int image = divide(row, from_h);
    return ivec2(channel_word_address(INPUT_LAYOUT, from_dims(), image, channel / 4,
                                      row - image * from_h, pixel - row * from_w),
                 8 * (channel % 4));
}

// The same where pixels stay, from the address of a pixel's first word: the same for all channels.
ivec2 source_in(int pixel_address, int channel) {
    int place = places[channel];
    return ivec2(pixel_address + (place >> 5) * channel_word_stride(INPUT_LAYOUT, from_dims()),
                 place & 31);
}

void main() {
    int index = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (index >= word_count) return;
    ivec4 to_dims = ivec4(to_n, to_c, to_h, to_w);
    ivec4 begin = ivec4(begin_n, begin_c, begin_h, begin_w);
    ivec4 size = ivec4(size_n, size_c, size_h, size_w);
    ivec4 at = channel_word_position(OUTPUT_LAYOUT, ivec4(span_n, span_c, span_h, span_w), index)
        + ivec4(first_n, first_c, first_h, first_w);
    if (any(greaterThanEqual(at, to_dims))) return;
    int word = channel_word_address(OUTPUT_LAYOUT, to_dims, at.x, at.y / 4, at.z, at.w);
    ivec4 within = at - begin;
    bvec4 inside = bvec4(ivec4(greaterThanEqual(within, ivec4(0))) *
                         ivec4(lessThan(within, size)));
    bool pixel_inside = inside.x && inside.z && inside.w;
    // Places outside the box are looked up at its first: what they give is not taken.
    ivec4 near = pixel_inside ? within : ivec4(0);
    int pixel = channel_word_address(INPUT_LAYOUT, from_dims(), near.x, 0, near.z, near.w);
    int result = FILLS ? fill_byte * 0x01010101 : 0;
    if (WHOLE_WORDS) {
        bool taken = pixel_inside && inside.y;
        if (!FILLS && !taken) return;
        near.y = taken ? within.y : 0;
        int source = PIXELS_STAY ? source_in(pixel, near.y).x : source_of(near).x;
        result = taken ? input_words[source] : result;
    } else {
        if (!FILLS) result = output_words[word];
        [[unroll]] for (int lane = 0; lane < 4; lane++) {
            int channel = within.y + lane;
            bool taken = pixel_inside && channel >= 0 && channel < size_c && at.y + lane < to_c;
            near.y = taken ? channel : 0;
            ivec2 source = PIXELS_STAY ? source_in(pixel, near.y) : source_of(near);
            int inserted = bitfieldInsert(result, input_words[source.x] >> source.y, 8 * lane, 8);
            result = taken ? inserted : result;
        }
    }
    output_words[word] = result;
}
