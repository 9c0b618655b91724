// Softmax along one axis of float32 values, one row per workgroup. As exact as the device's exp.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"

layout(local_size_x = 64) in;

layout(set = 0, binding = 0) readonly buffer Input { float input_values[]; };
layout(set = 0, binding = 1) writeonly buffer Output { float output_values[]; };

layout(push_constant) uniform Parameters {
    int rows;
    int count;
    int inner;
};

shared float partial[64];

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int row = int(gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);
    bool exists = row < rows;  // the same for the whole workgroup
    int first = exists ? row / inner * count * inner + row % inner : 0;

    float greatest = input_values[first];
    for (int i = lane; i < count; i += 64) greatest = max(greatest, input_values[first + i * inner]);
    partial[lane] = greatest;
    for (int half_count = 32; half_count > 0; half_count /= 2) {
        barrier();
        if (lane < half_count) partial[lane] = max(partial[lane], partial[lane + half_count]);
    }
    barrier();
    greatest = partial[0];
    barrier();

    float sum = 0.0;
    for (int i = lane; i < count; i += 64) sum += exp(input_values[first + i * inner] - greatest);
    partial[lane] = sum;
    for (int half_count = 32; half_count > 0; half_count /= 2) {
        barrier();
        if (lane < half_count) partial[lane] += partial[lane + half_count];
    }
    barrier();
    if (!exists) return;
    for (int i = lane; i < count; i += 64) {
        int place = first + i * inner;
        output_values[place] = exp(input_values[place] - greatest) / partial[0];
    }
}
