// A function of two float32 tensors that are broadcast to one shape, exact.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "division.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int FUNCTION = 0;

layout(set = 0, binding = 0) readonly buffer InputA { float a_values[]; };
layout(set = 0, binding = 1) readonly buffer InputB { float b_values[]; };
layout(set = 0, binding = 2) writeonly buffer Output { float output_values[]; };

layout(push_constant) uniform Parameters {
    int size1;  // the output's sizes from the second axis on, and both inputs' strides
    int size2;
    int size3;
    int a_stride0;
    int a_stride1;
    int a_stride2;
    int a_stride3;
    int b_stride0;
    int b_stride1;
    int b_stride2;
    int b_stride3;
    int element_count;
};

void main() {
    int index = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (index >= element_count) return;
    int row = index / size3;
    int plane = row / size2;
    ivec4 at = ivec4(plane / size1, plane % size1, row % size2, index % size3);
    ivec4 a_place = at * ivec4(a_stride0, a_stride1, a_stride2, a_stride3);
    ivec4 b_place = at * ivec4(b_stride0, b_stride1, b_stride2, b_stride3);
    float a = a_values[a_place.x + a_place.y + a_place.z + a_place.w];
    float b = b_values[b_place.x + b_place.y + b_place.z + b_place.w];
    precise float result = a + b;
    if (FUNCTION == 1) result = a - b;
    if (FUNCTION == 2) result = a * b;
    // What no quotient of normal numbers is, is left to the device.
    if (FUNCTION == 3) result = b == 0.0 || isinf(b) || isnan(a) ? a / b : divide_exactly(a, b);
    if (FUNCTION == 4) result = min(a, b);
    if (FUNCTION == 5) result = max(a, b);
    output_values[index] = result;
}
