// Packed int8 -> float32 in plain order, by a table of what each of the 256 values stands for.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "layout.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;

layout(set = 0, binding = 0) readonly buffer Input { int input_words[]; };
layout(set = 0, binding = 1) writeonly buffer Output { float output_values[]; };
layout(set = 0, binding = 2) readonly buffer Table { float table[]; };

layout(push_constant) uniform Parameters {
    int batch;
    int channels;
    int height;
    int width;
    int element_count;
};

void main() {
    int index = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (index >= element_count) return;
    ivec4 dims = ivec4(batch, channels, height, width);
    int address = layout_address(INPUT_LAYOUT, dims, layout_position(OUTPUT_LAYOUT, dims, index));
    int value = bitfieldExtract(input_words[address / 4], 8 * (address % 4), 8);
    output_values[index] = table[value + 128];
}
