// What every convolution kernel shares: its sizes, and the tile of outputs of one invocation.
// Outputs are numbered (n, oh, ow) row by row; lane l of a workgroup takes pixels l, l + 64, ...
// so that neighbouring lanes read neighbouring pixels and weights have one address per workgroup.
#ifndef CONV2D_GLSL
#define CONV2D_GLSL

layout(local_size_x = 64) in;

layout(constant_id = 1) const int INPUT_LAYOUT = 0;
layout(constant_id = 2) const int OUTPUT_LAYOUT = 0;
layout(constant_id = 15) const bool ONE_IMAGE = false;  // saves a division and a register a pixel

#include "conv2d_parameters.glsl"

#endif
