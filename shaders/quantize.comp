// float32 in plain order -> packed int8: the value is the number of thresholds that x reaches.
// Made on the host, thresholds are exact where a device's division is not; a product, which is off
// by one at most, says where to look.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "int8.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;

layout(set = 0, binding = 0) readonly buffer Input { float input_values[]; };
layout(set = 0, binding = 1) writeonly buffer Output { int output_words[]; };
layout(set = 0, binding = 2) readonly buffer Thresholds { float thresholds[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
    int word_count;
    float inverse_scale;
    int stored_zero_point;
};

int quantize(float x) {
    if (!(thresholds[0] <= x)) return -128;  // a NaN too
    float low = float(-128 - stored_zero_point);
    float high = float(127 - stored_zero_point);
    int near = int(roundEven(clamp(x * inverse_scale, low, high))) + stored_zero_point + 128;
    near = clamp(near, 1, 255);
    near -= thresholds[near - 1] <= x ? 0 : 1;
    near += near < 255 && thresholds[near] <= x ? 1 : 0;
    return near - 128;
}

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 dims = ivec4(batch, channels, height, width);
    ivec4 at = layout_position(OUTPUT_LAYOUT, dims, 4 * word);
    const int axis = layout_inner(OUTPUT_LAYOUT);  // along which the four values of a word lie
    ivec4 step = ivec4(0);
    step[axis] = 1;
    int stride = layout_address(INPUT_LAYOUT, dims, step);
    bool exists = all(lessThan(at, dims));
    int first = exists ? layout_address(INPUT_LAYOUT, dims, at) : 0;
    ivec4 lanes = ivec4(0);
    [[unroll]] for (int lane = 0; lane < 4; lane++) {
        if (exists && at[axis] + lane < dims[axis]) {
            lanes[lane] = quantize(input_values[first + lane * stride]);
        }
    }
    output_words[word] = pack_int8(lanes);
}
