// Quantising by thresholds made on the host: exact where a device's division is not.
// The including shader declares `float thresholds[]`: rows of 256, the last of each never reached.
#ifndef THRESHOLDS_GLSL
#define THRESHOLDS_GLSL

// The int8 storage of a value: -128 + the number of thresholds in the row that x reaches.
int quantize_by_row(int row, float x) {
    int reached = 0;
    [[unroll]] for (int step = 128; step > 0; step /= 2) {
        reached += thresholds[256 * row + reached + step - 1] <= x ? step : 0;
    }
    return reached - 128;
}

// The same, from a guess at it that is off by one at most: fewer look-ups. x is finite.
int quantize_near(int row, float x, int guess) {
    int near = clamp(guess + 128, 1, 255);
    near -= thresholds[256 * row + near - 1] <= x ? 0 : 1;
    near += thresholds[256 * row + near] <= x ? 1 : 0;
    return near - 128;
}

#endif
