// Division of integers without the instruction.
#ifndef DIVIDE_GLSL
#define DIVIDE_GLSL

// a / b for 0 <= a, 0 < b, exactly: the first estimate is off by less than 2^9, the second by one
// at most. A CPU divides integers one lane after the other; a GPU does about the same as this.
int divide(int a, int b) {
    float divisor = float(b);
    int estimate = int(float(a) / divisor);
    estimate += int(float(a - estimate * b) / divisor);
    int rest = a - estimate * b;
    return estimate + int(rest >= b) - int(rest < 0);
}

#endif
