"""Networks of one TensorFlow Lite operator or a few: LiteRT runs each of them as well."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.tflite_builder import VALID
from tests.tflite_chains import (
    channel_shuffle,
    flattened_by_computed_shape,
    padded_convolution,
    shared_reshape,
    transposed_by_computed_shape,
)
from tests.tflite_makers import (
    PROBABILITY,
    PROBABILITY_U,
    X8,
    XU,
    Y8,
    YU,
    Network,
    concatenated,
    convolution,
    fully_connected,
    mean,
    moved,
    padded,
    pair,
    pool,
    resized,
    sliced,
    split,
    transposed,
    unary,
)
from vkbackend.graph import Quantization

_CONSTANT = np.array([3, -90, 127, -128, 0, 55, 9], np.int8)

NETWORKS: dict[str, Callable[[], Network]] = {
    "conv": lambda: convolution("conv", (2, 9, 7, 5), 11, (3, 3), (9, 7)),
    "conv_strided": lambda: convolution(
        "conv_strided", (1, 12, 9, 3), 8, (5, 3), (6, 3), stride=(2, 3), activation="RELU6"
    ),
    "conv_valid": lambda: convolution(
        "conv_valid", (1, 9, 9, 4), 6, (4, 2), (3, 7), padding=VALID, stride=(2, 1),
        dilation=(1, 2), activation="RELU",
    ),
    "conv_dilated": lambda: convolution(
        "conv_dilated", (1, 11, 8, 6), 5, (3, 3), (11, 8), dilation=(2, 3)
    ),
    "conv_groups": lambda: convolution("conv_groups", (1, 6, 5, 12), 8, (3, 3), (6, 5), groups=4),
    "conv_uint8": lambda: convolution(
        "conv_uint8", (2, 8, 7, 5), 9, (3, 3), (4, 4), uint8=True, stride=(2, 2),
        activation="RELU_N1_TO_1",
    ),
    # Less their zero point, weights reach 255 and -255: more than two int8 values, and two, hold.
    "conv_uint8_widest": lambda: convolution(
        "conv_uint8_widest", (1, 5, 6, 9), 7, (2, 3), (5, 6), uint8=True, weight_zero_point=0
    ),
    "conv_uint8_least": lambda: convolution(
        "conv_uint8_least", (1, 5, 6, 9), 7, (1, 1), (5, 6), uint8=True, weight_zero_point=255
    ),
    "depthwise_uint8_widest": lambda: convolution(
        "depthwise_uint8_widest", (1, 9, 8, 6), 6, (3, 3), (9, 8), multiplier=1, uint8=True,
        weight_zero_point=0,
    ),
    "depthwise": lambda: convolution(
        "depthwise", (1, 9, 8, 7), 7, (3, 3), (5, 4), multiplier=1, stride=(2, 2)
    ),
    "depthwise_multiplier": lambda: convolution(
        "depthwise_multiplier", (1, 6, 7, 5), 15, (3, 2), (6, 7), multiplier=3, bias=False
    ),
    "depthwise_uint8": lambda: convolution(
        "depthwise_uint8", (1, 9, 8, 6), 12, (3, 3), (7, 6), multiplier=2, uint8=True,
        padding=VALID, activation="RELU6",
    ),
    "transpose_conv": lambda: transposed(
        "transpose_conv", (2, 4, 5, 6), 7, (3, 3), (2, 2), (8, 10)
    ),
    "transpose_conv_valid": lambda: transposed(
        "transpose_conv_valid", (1, 4, 3, 5), 6, (3, 2), (2, 3), (9, 8), padding=VALID
    ),
    "transpose_conv_stride_1": lambda: transposed(
        "transpose_conv_stride_1", (1, 5, 4, 3), 4, (3, 4), (1, 1), (5, 4), bias=False
    ),
    "transpose_conv_blocks": lambda: transposed(
        "transpose_conv_blocks", (1, 3, 5, 8), 8, (2, 2), (2, 2), (6, 10), activation="RELU"
    ),
    "transpose_conv_wide_stride": lambda: transposed(
        "transpose_conv_wide_stride", (1, 3, 4, 4), 5, (2, 2), (3, 3), (9, 12)
    ),
    "transpose_conv_uint8": lambda: transposed(
        "transpose_conv_uint8", (1, 4, 5, 6), 7, (4, 4), (2, 2), (8, 10), uint8=True
    ),
    "transpose_conv_computed_shape": transposed_by_computed_shape,
    "linear": lambda: fully_connected("linear", (3, 37), 11, (3, 11)),
    "linear_one_row": lambda: fully_connected("linear_one_row", (50,), 6, (1, 6)),
    "linear_per_channel": lambda: fully_connected(
        "linear_per_channel", (1, 64), 10, (1, 10), per_channel=True, activation="RELU"
    ),
    "linear_uint8": lambda: fully_connected("linear_uint8", (2, 50), 13, (2, 13), uint8=True),
    "linear_uint8_widest": lambda: fully_connected(
        "linear_uint8_widest", (2, 70), 13, (2, 13), uint8=True, weight_zero_point=0
    ),
    "linear_image": lambda: fully_connected(
        "linear_image", (2, 3, 4, 5), 9, (2, 9), per_channel=True
    ),
    "linear_flattened": lambda: fully_connected(
        "linear_flattened", (1, 3, 4, 5), 9, (1, 9), per_channel=True, flatten=(1, 60)
    ),
    "linear_pixels": lambda: fully_connected(
        "linear_pixels", (1, 3, 4, 5), 9, (1, 3, 4, 9), per_channel=True, keep=True
    ),
    "linear_rows": lambda: fully_connected("linear_rows", (2, 3, 4, 5), 9, (6, 9)),
    "linear_steps": lambda: fully_connected("linear_steps", (2, 6, 5), 7, (2, 6, 7), keep=True),
    "linear_shared_reshape": shared_reshape,
    "linear_computed_shape": flattened_by_computed_shape,
    "add": lambda: pair("ADD", X8, Y8, Quantization(0.05, 3), (1, 4, 5, 7), (1, 4, 5, 7)),
    "add_uint8": lambda: pair("ADD", XU, YU, XU, (2, 9), (2, 9), activation="RELU6"),
    "add_channels": lambda: pair(
        "ADD", X8, Y8, Y8, (1, 4, 5, 7), (7,), constant=_CONSTANT, activation="RELU"
    ),
    "add_broadcast": lambda: pair("ADD", X8, Y8, Y8, (1, 4, 5, 7), (1, 1, 1, 7)),
    "add_scalar": lambda: pair(
        "ADD", X8, Y8, Y8, (1, 4, 5, 7), (), constant=np.array(90, np.int8)
    ),
    "sub": lambda: pair("SUB", X8, Y8, Quantization(0.05, 3), (1, 4, 5, 7), (1, 4, 5, 7)),
    "sub_uint8": lambda: pair("SUB", XU, YU, YU, (3, 8), (3, 8), activation="RELU_N1_TO_1"),
    "sub_broadcast": lambda: pair("SUB", X8, Y8, Y8, (4, 1, 7), (5, 7)),
    "mul": lambda: pair("MUL", X8, Y8, Quantization(0.06, 3), (1, 4, 5, 7), (1, 4, 5, 7)),
    "mul_gate": lambda: pair("MUL", X8, PROBABILITY, X8, (2, 4, 5, 7), (2, 1, 1, 7)),
    "mul_uint8": lambda: pair("MUL", XU, YU, YU, (2, 9), (2, 9)),
    "mul_scalar": lambda: pair(
        "MUL", X8, Y8, X8, (2, 3, 9), (1,), constant=np.array([-77], np.int8)
    ),
    "average_pool": lambda: pool("AVERAGE_POOL_2D", (2, 7, 9, 5), (3, 2), (2, 1), (4, 9)),
    "average_pool_valid": lambda: pool(
        "AVERAGE_POOL_2D", (1, 7, 9, 5), (7, 9), (1, 1), (1, 1), padding=VALID, x=XU
    ),
    "average_pool_relu": lambda: pool(
        "AVERAGE_POOL_2D", (1, 6, 6, 3), (2, 2), (2, 2), (3, 3), activation="RELU6", x=XU
    ),
    "max_pool": lambda: pool("MAX_POOL_2D", (1, 7, 9, 5), (3, 3), (2, 2), (4, 5)),
    "max_pool_relu": lambda: pool(
        "MAX_POOL_2D", (1, 6, 6, 3), (2, 2), (2, 2), (3, 3), activation="RELU", padding=VALID, x=XU
    ),
    "mean": lambda: mean((2, 7, 5, 9), (1, 2), keep=True),
    "mean_flat": lambda: mean((2, 7, 5, 9), (-2, 1), x=XU, y=YU),
    "mean_channels": lambda: mean((2, 3, 5, 9), (3,)),
    "mean_rows": lambda: mean((2, 7, 5, 6), (1,), keep=True),
    "mean_all": lambda: mean((1, 4, 5, 6), (0, 1, 2, 3)),
    "mean_steps": lambda: mean((2, 11, 6), (1,)),
    "pad": lambda: padded((1, 4, 5, 3), ((0, 0), (1, 2), (0, 3), (0, 0))),
    "pad_all": lambda: padded((1, 2, 3, 3), ((1, 0), (1, 2), (0, 3), (2, 1)), XU),
    "pad_rows": lambda: padded((3, 5), ((0, 1), (2, 0))),
    "pad_convolution": lambda: padded_convolution(((0, 0), (0, 1), (1, 2), (0, 0))),
    "pad_channels_convolution": lambda: padded_convolution(((0, 0), (1, 1), (1, 1), (0, 3))),
    "concat_channels": lambda: concatenated(
        [(1, 3, 5, 3), (1, 3, 5, 6), (1, 3, 5, 1), (1, 3, 5, 2)], 3, [X8] * 4, X8
    ),
    "concat_rows": lambda: concatenated([(2, 3, 5, 7), (2, 1, 5, 7)], 1, [X8] * 2, X8),
    "concat_uint8": lambda: concatenated([(2, 5, 3), (2, 5, 4)], -1, [XU, YU], XU),
    "concat_batch": lambda: concatenated([(2, 6), (1, 6), (3, 6)], 0, [X8] * 3, X8),
    "split": lambda: split((1, 4, 6, 12), 3, 3),
    "split_rows": lambda: split((2, 6, 4, 5), 1, 2, XU),
    "split_odd": lambda: split((2, 9), -1, 3),
    "shuffle": channel_shuffle,
    "reshape": lambda: moved("RESHAPE", (2, 3, 4, 5), (2, 60), [(2, 60)]),
    "reshape_images": lambda: moved("RESHAPE", (1, 12, 10), (1, 3, 4, 10), [(1, 3, 4, 10)]),
    "reshape_mixed": lambda: moved("RESHAPE", (2, 3, 4, 5), (4, 5, 6), [(4, 5, 6)]),
    "reshape_one": lambda: moved("RESHAPE", (1, 1, 1, 9), (9,), [(9,)]),
    "squeeze": lambda: moved("SQUEEZE", (1, 3, 1, 9), (3, 9), [], "SqueezeOptions"),
    "expand_dims": lambda: moved(
        "EXPAND_DIMS", (3, 4, 9), (3, 1, 4, 9), [(1,)], "ExpandDimsOptions"
    ),
    "transpose": lambda: moved(
        "TRANSPOSE", (2, 3, 4, 5), (5, 3, 2, 4), [(3, 1, 0, 2)], "TransposeOptions"
    ),
    "transpose_rows": lambda: moved("TRANSPOSE", (6, 7), (7, 6), [(1, 0)], "TransposeOptions"),
    "softmax": lambda: unary(
        "SOFTMAX", Quantization(0.09, 3), PROBABILITY, (2, 17), "SoftmaxOptions", Beta=1.0
    ),
    "softmax_pixels": lambda: unary(
        "SOFTMAX", Quantization(0.05, 3, "uint8"), PROBABILITY_U, (1, 3, 4, 9), "SoftmaxOptions",
        Beta=0.5,
    ),
    "softmax_one_axis": lambda: unary(
        "SOFTMAX", Quantization(0.05, 3), PROBABILITY, (11,), "SoftmaxOptions", Beta=1.0
    ),
    "softmax_coarse": lambda: unary(
        "SOFTMAX", Quantization(23.5, 3), PROBABILITY, (3, 600), "SoftmaxOptions", Beta=1.0
    ),
    "logistic": lambda: unary("LOGISTIC", X8, PROBABILITY),
    "tanh": lambda: unary("TANH", XU, Quantization(1 / 128, 128, "uint8")),
    "hard_swish": lambda: unary("HARD_SWISH", X8, Y8, options="HardSwishOptions"),
    "leaky_relu": lambda: unary("LEAKY_RELU", X8, Y8, options="LeakyReluOptions", Alpha=0.17),
    "relu": lambda: unary("RELU", X8, Y8),
    "relu6": lambda: unary("RELU6", XU, YU),
    "requantize": lambda: unary("QUANTIZE", XU, Y8, options="QuantizeOptions"),
    "quantize": lambda: unary("QUANTIZE", None, Y8, options="QuantizeOptions"),
    "dequantize": lambda: unary("DEQUANTIZE", XU, None, options="DequantizeOptions"),
    "resize_nearest": lambda: resized("RESIZE_NEAREST_NEIGHBOR", (1, 3, 4, 5), (7, 9)),
    "resize_nearest_corners": lambda: resized(
        "RESIZE_NEAREST_NEIGHBOR", (2, 5, 7, 3), (8, 4), align_corners=True, x=XU
    ),
    "resize_nearest_half": lambda: resized(
        "RESIZE_NEAREST_NEIGHBOR", (1, 5, 7, 3), (9, 13), half_pixel=True
    ),
    "resize_bilinear": lambda: resized("RESIZE_BILINEAR", (1, 3, 4, 5), (7, 9)),
    "resize_bilinear_half": lambda: resized(
        "RESIZE_BILINEAR", (2, 8, 8, 3), (16, 13), half_pixel=True
    ),
    "resize_bilinear_corners": lambda: resized(
        "RESIZE_BILINEAR", (1, 5, 7, 3), (11, 3), align_corners=True
    ),
    "resize_bilinear_uint8": lambda: resized(
        "RESIZE_BILINEAR", (1, 8, 6, 7), (17, 13), half_pixel=True, x=XU
    ),
    "slice": lambda: sliced(
        (2, 5, 7, 9), (0, 1, -1, 2), (2, 5, -6, 9), (1, 2, -2, 3), (2, 2, 3, 3)
    ),
    "slice_masks": lambda: sliced(
        (2, 5, 7), (1, 3, 1), (9, 0, 4), (1, 1, 1), (1, 5, 3), BeginMask=2, EndMask=3
    ),
    "slice_shrunk": lambda: sliced(
        (2, 5, 7, 9), (0, -2, 0, 0), (2, 0, 7, 9), (1, 1, 1, 1), (2, 7, 9), ShrinkAxisMask=2
    ),
    "slice_ellipsis": lambda: sliced(
        (2, 5, 7, 9), (0, 0, 4), (0, 0, 9), (1, 1, 2), (2, 5, 7, 3), EllipsisMask=2, BeginMask=1,
        EndMask=1,
    ),
    "slice_new_axis": lambda: sliced(
        (5, 7), (0, 0, 2), (5, 0, 6), (2, 1, 1), (3, 1, 4), NewAxisMask=2
    ),
    "space_to_depth": lambda: moved(
        "SPACE_TO_DEPTH", (2, 6, 4, 3), (2, 3, 2, 12), [], "SpaceToDepthOptions", BlockSize=2
    ),
    "depth_to_space": lambda: moved(
        "DEPTH_TO_SPACE", (1, 3, 2, 18), (1, 9, 6, 2), [], "DepthToSpaceOptions", BlockSize=3
    ),
}  # fmt: skip
