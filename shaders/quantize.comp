// float32 in plain order -> packed int8: the value is the number of thresholds that x reaches.
// Made on the host, thresholds are exact where a device's division is not.
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
};

int quantize(float x) {
    int reached = 0;
    [[unroll]] for (int step = 128; step > 0; step /= 2) {
        reached += thresholds[reached + step - 1] <= x ? step : 0;
    }
    return reached - 128;
}

void main() {
    int word = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (word >= word_count) return;
    ivec4 dims = ivec4(batch, channels, height, width);
    ivec4 lanes = ivec4(0);
    [[unroll]] for (int lane = 0; lane < 4; lane++) {
        ivec4 at = layout_position(OUTPUT_LAYOUT, dims, 4 * word + lane);
        if (all(lessThan(at, dims))) {
            lanes[lane] = quantize(input_values[layout_address(INPUT_LAYOUT, dims, at)]);
        }
    }
    output_words[word] = pack_int8(lanes);
}
