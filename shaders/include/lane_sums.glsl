// The sum of what the 64 lanes of a workgroup hold.
#ifndef LANE_SUMS_GLSL
#define LANE_SUMS_GLSL

shared ivec4 lane_sums[64];

// In every lane. Two steps of eight, since each is a chain of loads from shared memory.
ivec4 sum_of_lanes(ivec4 sum) {
    int lane = int(gl_LocalInvocationIndex);
    lane_sums[lane] = sum;
    barrier();
    if (lane < 8) {
        [[unroll]] for (int i = 1; i < 8; i++) sum += lane_sums[lane + 8 * i];
        lane_sums[lane] = sum;
    }
    barrier();
    ivec4 total = lane_sums[0];
    [[unroll]] for (int i = 1; i < 8; i++) total += lane_sums[i];
    return total;
}

#endif
