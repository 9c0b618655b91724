"""Which options of which operator are read: one line each."""

from __future__ import annotations

Option = int | float | bool

_WINDOW = ("padding", "stride_w", "stride_h", "fused_activation_function")
_DILATED = (*_WINDOW, "dilation_w_factor", "dilation_h_factor")
_ACTIVATION = ("fused_activation_function",)
_POOL = ("Pool2DOptions", (*_WINDOW, "filter_width", "filter_height"))

# Operator -> name of its options table in the schema, and of the fields in it.
OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ADD": ("AddOptions", _ACTIVATION),
    "AVERAGE_POOL_2D": _POOL,
    "CONCATENATION": ("ConcatenationOptions", ("axis", *_ACTIVATION)),
    "CONV_2D": ("Conv2DOptions", _DILATED),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _DILATED),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", ("block_size",)),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions",
        ("weights_format", "keep_num_dims", *_ACTIVATION),
    ),
    "LEAKY_RELU": ("LeakyReluOptions", ("alpha",)),
    "MAX_POOL_2D": _POOL,
    "MEAN": ("ReducerOptions", ("keep_dims",)),
    "MUL": ("MulOptions", _ACTIVATION),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("align_corners", "half_pixel_centers")),
    "RESIZE_NEAREST_NEIGHBOR": (
        "ResizeNearestNeighborOptions",
        ("align_corners", "half_pixel_centers"),
    ),
    "SOFTMAX": ("SoftmaxOptions", ("beta",)),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", ("block_size",)),
    "SPLIT": ("SplitOptions", ("num_splits",)),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        (
            "begin_mask",
            "end_mask",
            "ellipsis_mask",
            "new_axis_mask",
            "shrink_axis_mask",
            "offset",
        ),
    ),
    "SUB": ("SubOptions", _ACTIVATION),
    "TRANSPOSE_CONV": ("TransposeConvOptions", _WINDOW),
}

# What stands where a file leaves a table or a field out; 0 for all others.
DEFAULTS: dict[str, Option] = {"dilation_w_factor": 1, "dilation_h_factor": 1}

# Inputs that only repeat the output's shape, which the file declares: networks of any batch size
# compute them with operators on integers.
SHAPE_INPUTS = {
    "EXPAND_DIMS": 1,
    "RESHAPE": 1,
    "RESIZE_BILINEAR": 1,
    "RESIZE_NEAREST_NEIGHBOR": 1,
    "TRANSPOSE_CONV": 0,
}

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
SAME, VALID = 0, 1
