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

float compute(float x) {
    switch (FUNCTION) {
        case 0: return limited(x, a, b);
        case 1: return x < 0.0 ? x * a : x;
        case 2: return hard_sigmoid(x, a, b);
        case 3: return x * hard_sigmoid(x, a, b);
        case 4: return abs(x);
        case 5: return 1.0 / (1.0 + exp(-x));
        // Beyond 9 it is 1 in float32, and exp of it may overflow.
        case 6: return 1.0 - 2.0 / (exp(2.0 * limited(x, -9.0, 9.0)) + 1.0);
        case 7: return exp(x);
        case 8: return sqrt(x);
    }
    return x;
}

void main() {
    int index = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (index < element_count) output_values[index] = compute(input_values[index]);
}
