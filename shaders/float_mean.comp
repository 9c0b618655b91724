// The mean or sum of each row of float32 values, exact: the order of the sum is ONNX Runtime's on x86, and
// the quotient is rounded as IEEE 754 wants it. One invocation per row.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "prologue.glsl"
#include "division.glsl"

layout(local_size_x = 64) in;
layout(constant_id = 1) const int ORDER = 0;  // 0 one after another, 1 fours, 2 packets
layout(constant_id = 2) const int DIVIDES = 1;

layout(set = 0, binding = 0) readonly buffer Input { float input_values[]; };
layout(set = 0, binding = 1) writeonly buffer Output { float output_values[]; };

layout(push_constant) uniform Parameters {
    int rows;
    int count;
    int inner;
};

precise float sum_in_order(int place, int begin, int end, precise float total) {
    for (int i = begin; i < end; i++) total = total + input_values[place + i * inner];
    return total;
}

// Four values make a sum of their own, which is added to the whole; then two, then one.
precise float sum_fours(int place) {
    precise float total = 0.0;
    for (int i = 0; i < count;) {
        int end = i + (count - i >= 4 ? 4 : count - i >= 2 ? 2 : 1);
        precise float part = sum_in_order(place, i + 1, end, input_values[place + i * inner]);
        total = i == 0 ? part : total + part;
        i = end;
    }
    return total;
}

vec4 packet(int place) {
    return vec4(input_values[place], input_values[place + 1], input_values[place + 2],
                input_values[place + 3]);
}

// Two packets of four lanes from the first address that 16 divides; what is left one by one.
precise float sum_packets(int place) {
    int head = min((4 - place % 4) % 4, count);
    int packets = (count - head) / 4;
    if (packets == 0) return sum_in_order(place, 1, count, input_values[place]);
    int begin = place + head;
    precise vec4 even = packet(begin);
    if (packets > 1) {
        precise vec4 odd = packet(begin + 4);
        for (int i = 2; i + 1 < packets; i += 2) {
            even = even + packet(begin + 4 * i);
            odd = odd + packet(begin + 4 * i + 4);
        }
        even = even + odd;
        if (packets % 2 != 0) even = even + packet(begin + 4 * packets - 4);
    }
    precise float first = even.x + even.z;
    precise float second = even.y + even.w;
    precise float total = first + second;
    total = sum_in_order(place, 0, head, total);
    return sum_in_order(place, head + 4 * packets, count, total);
}

void main() {
    int row = int(gl_GlobalInvocationID.y * gl_NumWorkGroups.x * 64 + gl_GlobalInvocationID.x);
    if (row >= rows) return;
    int place = row / inner * count * inner + row % inner;
    float total;
    if (ORDER == 2) total = sum_packets(place);
    else if (ORDER == 1) total = sum_fours(place);
    else total = sum_in_order(place, 1, count, input_values[place]);
    output_values[row] = DIVIDES != 0 ? divide_exactly(total, float(count)) : total;
}
