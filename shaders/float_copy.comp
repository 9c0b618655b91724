// Moves the 32-bit elements of one part (vkbackend/ops/float_copy.py): an element's place in the
// part's box, written in mixed radix, gives the place of the input's element. All in NCHW order.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const bool FILLS = false;  // else elements outside the box stay as they are

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Digits { ivec2 digits[]; };  // innermost first

layout(push_constant) uniform Parameters {
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
    int first_n;  // the box of output elements that invocations are spread over
    int first_c;
    int first_h;
    int first_w;
    int span_c;
    int span_h;
    int span_w;
    int offset;
    int digit_count;
    float fill;
    int element_count;
};

void main() {
    int index = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (index >= element_count) return;
    int row = index / span_w;
    int plane = row / span_h;
    ivec4 at = ivec4(plane / span_c, plane % span_c, row % span_h, index % span_w)
        + ivec4(first_n, first_c, first_h, first_w);
    ivec4 within = at - ivec4(begin_n, begin_c, begin_h, begin_w);
    ivec4 size = ivec4(size_n, size_c, size_h, size_w);
    bool inside = all(greaterThanEqual(within, ivec4(0))) && all(lessThan(within, size));
    int result = floatBitsToInt(fill);
    if (inside) {
        int place = ((within.x * size_c + within.y) * size_h + within.z) * size_w + within.w;
        int from = offset;
        for (int i = 0; i < digit_count; i++) {
            ivec2 digit = digits[i];
            from += place % digit.x * digit.y;
            place /= digit.x;
        }
        result = input_words[from];
    } else if (!FILLS) {
        return;
    }
    output_words[((at.x * to_c + at.y) * to_h + at.z) * to_w + at.w] = result;
}
