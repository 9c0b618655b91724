"""Makes networks of one TensorFlow Lite operator or a few, with seeded inputs."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.tflite_builder import ACTIVATIONS, SAME, TfliteBuilder
from vkbackend.graph import Array, Quantization

X8, Y8 = Quantization(0.021, -7), Quantization(0.034, 11)
XU, YU = Quantization(0.017, 131, "uint8"), Quantization(0.029, 97, "uint8")
PROBABILITY = Quantization(1 / 256, -128)
PROBABILITY_U = Quantization(1 / 256, 0, "uint8")


@dataclass
class Network:
    """A file, and inputs for it."""

    content: bytes
    inputs: list[Array]


class Maker:
    """A builder with seeded values, that remembers the network's inputs."""

    def __init__(self, name: str) -> None:
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.file = TfliteBuilder()
        self.inputs: list[int] = []
        self.arrays: list[Array] = []

    def x(self, shape: Sequence[int], quantization: Quantization | None = X8) -> int:
        """An input of the network over its type's whole range."""
        index = self.file.tensor(shape, quantization, name=f"x{len(self.inputs)}")
        self.inputs.append(index)
        self.arrays.append(self.values(shape, quantization))
        return index

    def values(self, shape: Sequence[int], quantization: Quantization | None) -> Array:
        if quantization is None:
            return self.rng.normal(scale=2.0, size=shape).astype(np.float32)
        low, high = quantization.range
        return self.rng.integers(low, high + 1, shape).astype(quantization.dtype)

    def numbers(self, *values: int) -> int:
        """A constant of int32."""
        return self.file.constant(np.array(values, np.int32))

    def weights(
        self, shape: Sequence[int], *, axis: int = 0, uint8: bool = False, zero_point: int = 118
    ) -> int:
        """Weights with a scale per channel along the axis; uint8 ones with a zero point."""
        if uint8:
            data = self.rng.integers(0, 256, shape).astype(np.uint8)
            return self.file.constant(data, 0.0041, zero_point)
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        scales = self.rng.uniform(0.001, 0.006, shape[axis]).astype(np.float32)
        return self.file.constant(data, scales, axis=axis)

    def bias(self, channels: int, scale: float = 1e-4) -> int:
        data = self.rng.integers(-9000, 9000, channels).astype(np.int32)
        return self.file.constant(data, scale)

    def network(self, *outputs: int) -> Network:
        return Network(self.file.build(self.inputs, outputs), self.arrays)


def convolution(
    name: str,
    shape: Sequence[int],
    channels: int,
    kernel: tuple[int, int],
    out: tuple[int, int],
    *,
    uint8: bool = False,
    padding: int = SAME,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    activation: str = "NONE",
    groups: int = 1,
    multiplier: int = 0,
    bias: bool = True,
    weight_zero_point: int = 118,
) -> Network:
    """CONV_2D, or DEPTHWISE_CONV_2D where a multiplier is given."""
    make = Maker(name)
    x = make.x(shape, XU if uint8 else X8)
    w_shape = (channels, *kernel, shape[3] // groups)
    if multiplier:
        w_shape = (1, *kernel, channels)
    axis = 3 if multiplier else 0
    w = make.weights(w_shape, axis=axis, uint8=uint8, zero_point=weight_zero_point)
    inputs = [x, w]
    scale = 0.017 * 0.0041 if uint8 else 1e-4
    if bias:
        inputs.append(make.bias(channels, scale))
    y = make.file.tensor((shape[0], *out, channels), YU if uint8 else Y8)
    fields: dict[str, Any] = {
        "Padding": padding,
        "StrideH": stride[0],
        "StrideW": stride[1],
        "FusedActivationFunction": ACTIVATIONS[activation],
        "DilationHFactor": dilation[0],
        "DilationWFactor": dilation[1],
    }
    if multiplier:
        fields["DepthMultiplier"] = multiplier
    kind = "DEPTHWISE_CONV_2D" if multiplier else "CONV_2D"
    options = "DepthwiseConv2DOptions" if multiplier else "Conv2DOptions"
    return make.network(make.file.operator(kind, inputs, y, options, **fields))


def transposed(
    name: str,
    shape: Sequence[int],
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    out: tuple[int, int],
    *,
    uint8: bool = False,
    padding: int = SAME,
    bias: bool = True,
    activation: str = "NONE",
) -> Network:
    """TRANSPOSE_CONV."""
    make = Maker(name)
    y_shape = (shape[0], *out, channels)
    w = make.weights((channels, *kernel, shape[3]), uint8=uint8)
    inputs = [make.numbers(*y_shape), w, make.x(shape, XU if uint8 else X8)]
    if bias:
        inputs.append(make.bias(channels, 0.017 * 0.0041 if uint8 else 1e-4))
    y = make.file.tensor(y_shape, YU if uint8 else Y8)
    fields = {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1]}
    fields["FusedActivationFunction"] = ACTIVATIONS[activation]
    return make.network(
        make.file.operator("TRANSPOSE_CONV", inputs, y, "TransposeConvOptions", **fields)
    )


def fully_connected(
    name: str,
    shape: Sequence[int],
    channels: int,
    out: Sequence[int],
    *,
    uint8: bool = False,
    per_channel: bool = False,
    keep: bool = False,
    activation: str = "NONE",
    flatten: Sequence[int] | None = None,
    weight_zero_point: int = 118,
) -> Network:
    """FULLY_CONNECTED, behind a RESHAPE where `flatten` is given."""
    make = Maker(name)
    x = make.x(shape, XU if uint8 else X8)
    if flatten is not None:
        flat = make.file.tensor(flatten, XU if uint8 else X8)
        x = make.file.operator("RESHAPE", [x, make.numbers(*flatten)], flat)
    depth = (int(np.prod(shape)) * channels) // int(np.prod(out))
    if per_channel or uint8:
        w = make.weights((channels, depth), uint8=uint8, zero_point=weight_zero_point)
    else:
        data = make.rng.integers(-127, 128, (channels, depth)).astype(np.int8)
        w = make.file.constant(data, 0.0037, 5)
    y = make.file.tensor(out, YU if uint8 else Y8)
    bias = make.bias(channels, 0.017 * 0.0041 if uint8 else 0.021 * 0.0037)
    fields = {"KeepNumDims": keep, "FusedActivationFunction": ACTIVATIONS[activation]}
    return make.network(
        make.file.operator("FULLY_CONNECTED", [x, w, bias], y, "FullyConnectedOptions", **fields)
    )


def unary(
    kind: str,
    x: Quantization | None,
    y: Quantization | None,
    shape: Sequence[int] = (1, 4, 4, 17),
    options: str = "",
    **fields: Any,
) -> Network:
    """An operator of one tensor that keeps its shape."""
    make = Maker(f"{kind}{x}{y}")
    source = make.x(shape, x)
    made = make.file.tensor(shape, y)
    return make.network(make.file.operator(kind, [source], made, options, **fields))


def pair(
    kind: str,
    a: Quantization,
    b: Quantization,
    y: Quantization,
    a_shape: Sequence[int],
    b_shape: Sequence[int],
    *,
    activation: str = "NONE",
    constant: Array | None = None,
) -> Network:
    """ADD, SUB or MUL; the second input a constant where its values are given."""
    make = Maker(f"{kind}{a_shape}{b_shape}")
    inputs = [make.x(a_shape, a)]
    if constant is None:
        inputs.append(make.x(b_shape, b))
    else:
        inputs.append(make.file.constant(constant, b.scale, b.zero_point))
    shape = np.broadcast_shapes(tuple(a_shape), tuple(b_shape))
    made = make.file.tensor(shape, y)
    options = f"{kind.capitalize()}Options"
    fields = {"FusedActivationFunction": ACTIVATIONS[activation]}
    return make.network(make.file.operator(kind, inputs, made, options, **fields))


def pool(
    kind: str,
    shape: Sequence[int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    out: tuple[int, int],
    *,
    x: Quantization = X8,
    padding: int = SAME,
    activation: str = "NONE",
) -> Network:
    """AVERAGE_POOL_2D or MAX_POOL_2D."""
    make = Maker(f"{kind}{shape}{kernel}")
    source = make.x(shape, x)
    made = make.file.tensor((shape[0], *out, shape[3]), x)
    fields = {
        "Padding": padding,
        "StrideH": stride[0],
        "StrideW": stride[1],
        "FilterHeight": kernel[0],
        "FilterWidth": kernel[1],
        "FusedActivationFunction": ACTIVATIONS[activation],
    }
    return make.network(make.file.operator(kind, [source], made, "Pool2DOptions", **fields))


def mean(
    shape: Sequence[int],
    axes: Sequence[int],
    *,
    keep: bool = False,
    x: Quantization = X8,
    y: Quantization = Y8,
) -> Network:
    """MEAN."""
    make = Maker(f"mean{shape}{axes}")
    source = make.x(shape, x)
    real = {axis % len(shape) for axis in axes}
    out = [1 if i in real else size for i, size in enumerate(shape) if keep or i not in real]
    made = make.file.tensor(out, y)
    inputs = [source, make.numbers(*axes)]
    return make.network(make.file.operator("MEAN", inputs, made, "ReducerOptions", KeepDims=keep))


def moved(
    kind: str,
    shape: Sequence[int],
    out: Sequence[int],
    constants: Sequence[Sequence[int]] = (),
    options: str = "",
    x: Quantization = X8,
    **fields: Any,
) -> Network:
    """An operator that only moves elements, its int32 inputs behind the tensor."""
    make = Maker(f"{kind}{shape}{out}")
    inputs = [make.x(shape, x), *(make.numbers(*values) for values in constants)]
    made = make.file.tensor(out, x)
    return make.network(make.file.operator(kind, inputs, made, options, **fields))


def padded(shape: Sequence[int], pads: Sequence[Sequence[int]], x: Quantization = X8) -> Network:
    """PAD."""
    make = Maker(f"pad{shape}{pads}")
    inputs = [make.x(shape, x), make.file.constant(np.array(pads, np.int32))]
    out = [size + sum(pad) for size, pad in zip(shape, pads, strict=True)]
    return make.network(make.file.operator("PAD", inputs, make.file.tensor(out, x), "PadOptions"))


def concatenated(
    shapes: Sequence[Sequence[int]],
    axis: int,
    quantizations: Sequence[Quantization],
    y: Quantization,
) -> Network:
    """CONCATENATION."""
    make = Maker(f"concat{shapes}{axis}")
    inputs = [make.x(shape, x) for shape, x in zip(shapes, quantizations, strict=True)]
    out = list(shapes[0])
    out[axis] = sum(shape[axis] for shape in shapes)
    made = make.file.tensor(out, y)
    return make.network(
        make.file.operator("CONCATENATION", inputs, made, "ConcatenationOptions", Axis=axis)
    )


def split(shape: Sequence[int], axis: int, count: int, x: Quantization = X8) -> Network:
    """SPLIT; all parts are outputs."""
    make = Maker(f"split{shape}{axis}")
    inputs = [make.numbers(axis), make.x(shape, x)]
    out = list(shape)
    out[axis] //= count
    made = [make.file.tensor(out, x) for _ in range(count)]
    make.file.operator("SPLIT", inputs, made, "SplitOptions", NumSplits=count)
    return make.network(*made)


def resized(
    kind: str,
    shape: Sequence[int],
    size: tuple[int, int],
    *,
    x: Quantization = X8,
    align_corners: bool = False,
    half_pixel: bool = False,
) -> Network:
    """RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR."""
    out = (shape[0], *size, shape[3])
    options = {
        "RESIZE_BILINEAR": "ResizeBilinearOptions",
        "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    }[kind]
    fields = {"AlignCorners": align_corners, "HalfPixelCenters": half_pixel}
    return moved(kind, shape, out, [size], options, x, **fields)


def sliced(
    shape: Sequence[int],
    begin: Sequence[int],
    end: Sequence[int],
    steps: Sequence[int],
    out: Sequence[int],
    **masks: int,
) -> Network:
    """STRIDED_SLICE."""
    bounds = [begin, end, steps]
    return moved("STRIDED_SLICE", shape, out, bounds, "StridedSliceOptions", X8, **masks)
