// Writes the address of every element of a tensor in one layout, and the element that
// layout_position finds at that address: what a test compares with vkbackend/layouts.py.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int LAYOUT = 0;

layout(set = 0, binding = 0) writeonly buffer Addresses { int addresses[]; };
layout(set = 0, binding = 1) writeonly buffer Elements { int elements[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
};

void main() {
    int index = int(gl_GlobalInvocationID.x);
    if (index >= batch * channels * height * width) return;
    ivec4 dims = ivec4(batch, channels, height, width);
    int row = index / width;
    int plane = row / height;
    ivec4 at = ivec4(plane / channels, plane % channels, row % height, index % width);
    int address = layout_address(LAYOUT, dims, at);
    ivec4 found = layout_position(LAYOUT, dims, address);
    addresses[index] = address;
    elements[index] = ((found.x * channels + found.y) * height + found.z) * width + found.w;
}
