// An affine function of two int8 values, each step rounded to float32 on its own: used where
// enumerating all pairs has proved it equal to a table (vkbackend/quant/pair.py is the twin). Their
// product is small too: it may stand for the first, with a scale of zero for the second. The result
// is clamped to the output's type, and as int8 storage holds it.
#ifndef AFFINE_SUM_GLSL
#define AFFINE_SUM_GLSL

#include "rounding.glsl"

ivec4 affine_sum(ivec4 a, ivec4 b, float a_scale, float b_scale, float offset,
                 int output_storage_offset) {
    precise vec4 from_a = small_float(a) * a_scale;
    precise vec4 from_b = small_float(b) * b_scale;
    precise vec4 shifted = from_b + offset;
    precise vec4 total = from_a + shifted;
    float low = float(-128 - output_storage_offset);
    return nearest_whole(clamp(total, low, low + 255.0)) + output_storage_offset;
}

#endif
