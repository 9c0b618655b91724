// An affine function of two int8 values, each step rounded to float32 on its own: used where
// enumerating all pairs has proved it equal to a table (vkbackend/quant/pair.py is the twin).
#ifndef AFFINE_SUM_GLSL
#define AFFINE_SUM_GLSL

#include "rounding.glsl"

ivec4 affine_sum(ivec4 a, ivec4 b, float a_scale, float b_scale, float offset, int low, int high) {
    precise vec4 from_a = small_float(a) * a_scale;
    precise vec4 from_b = small_float(b) * b_scale;
    precise vec4 shifted = from_b + offset;
    precise vec4 total = from_a + shifted;
    return nearest_whole(clamp(total, float(low), float(high)));
}

#endif
