// A function of each float32 element. The first five functions are exact; exponentials are as good
// as the device's.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int FUNCTION = 0;

layout(set = 0, binding = 0) readonly buffer Input { float input_values[]; };
layout(set = 0, binding = 1) writeonly buffer Output { float output_values[]; };

layout(push_constant) uniform Parameters {
    float a;
    float b;
    int element_count;
};

float limited(float x, float low, float high) { return min(max(x, low), high); }

float hard_sigmoid(float x, float slope, float offset) {
    precise float scaled = x * slope;
    precise float shifted = scaled + offset;
    return limited(shifted, 0.0, 1.0);
}

// The rational approximation of MLAS (vkbackend/quant/onnxruntime.py): near zero, where 1 - 2 / ...
// would cancel, it is as good as anywhere.
float hyperbolic_tangent(float unlimited) {
    float x = limited(unlimited, -9.0, 9.0);
    float square = x * x;
    float above = -2.76076847742355e-16;
    above = above * square + 2.00018790482477e-13;
    above = above * square - 8.60467152213735e-11;
    above = above * square + 5.12229709037114e-08;
    above = above * square + 1.48572235717979e-05;
    above = above * square + 6.37261928875436e-04;
    above = above * square + 4.89352455891786e-03;
    float below = 1.19825839466702e-06;
    below = below * square + 1.18534705686654e-04;
    below = below * square + 2.26843463243900e-03;
    below = below * square + 4.89352518554385e-03;
    return x * above / below;
}

float compute(float x) {
    switch (FUNCTION) {
        case 0: return limited(x, a, b);
        case 1: return x < 0.0 ? x * a : x;
        case 2: return hard_sigmoid(x, a, b);
        case 3: return x * hard_sigmoid(x, a, b);
        case 4: return abs(x);
        case 5: return 1.0 / (1.0 + exp(-x));
        case 6: return hyperbolic_tangent(x);
        case 7: return exp(x);
        case 8: return sqrt(x);
    }
    return x;
}

void main() {
    int index = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (index < element_count) output_values[index] = compute(input_values[index]);
}
