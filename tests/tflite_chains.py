"""Makes networks of a few TensorFlow Lite operators, in patterns that converters write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.tflite_builder import SAME, VALID
from tests.tflite_makers import X8, Y8, Maker, Network


def padded_convolution(pads: Sequence[Sequence[int]]) -> Network:
    """PAD, then a convolution without padding of its own: as networks of Keras have it."""
    make = Maker(f"pad_conv{pads}")
    x = make.x((1, 8, 8, 5))
    made = make.file.tensor([s + sum(p) for s, p in zip((1, 8, 8, 5), pads, strict=True)], X8)
    x = make.file.operator(
        "PAD", [x, make.file.constant(np.array(pads, np.int32))], made, "PadOptions"
    )
    channels = 5 + sum(pads[3])
    inputs = [x, make.weights((6, 3, 3, channels)), make.bias(6)]
    size = [(8 + sum(pads[axis]) - 3) // 2 + 1 for axis in (1, 2)]
    y = make.file.tensor((1, *size, 6), Y8)
    fields = {"Padding": VALID, "StrideH": 2, "StrideW": 2}
    return make.network(make.file.operator("CONV_2D", inputs, y, "Conv2DOptions", **fields))


def channel_shuffle() -> Network:
    """SPLIT, CONCATENATION and a shuffle through rank 5: as ShuffleNet has it."""
    make = Maker("shuffle")
    file = make.file
    x = make.x((1, 4, 6, 12))
    parts = [file.tensor((1, 4, 6, 6), X8) for _ in range(2)]
    file.operator("SPLIT", [make.numbers(3), x], parts, "SplitOptions", NumSplits=2)
    relu = file.operator("RELU", [parts[0]], file.tensor((1, 4, 6, 6), X8))
    joined = file.operator(
        "CONCATENATION",
        [relu, parts[1]],
        file.tensor((1, 4, 6, 12), X8),
        "ConcatenationOptions",
        Axis=3,
    )
    five = file.tensor((1, 4, 6, 2, 6), X8)
    file.operator("RESHAPE", [joined, make.numbers(1, 4, 6, 2, 6)], five)
    turned = file.tensor((1, 4, 6, 6, 2), X8)
    file.operator("TRANSPOSE", [five, make.numbers(0, 1, 2, 4, 3)], turned, "TransposeOptions")
    back = file.tensor((1, 4, 6, 12), X8)
    file.operator("RESHAPE", [turned, make.numbers(1, 4, 6, 12)], back)
    return make.network(file.operator("RELU6", [back], file.tensor((1, 4, 6, 12), X8)))


def shared_reshape() -> Network:
    """A RESHAPE that a fully connected layer and another operator read."""
    make = Maker("shared")
    x = make.x((1, 3, 4, 5))
    flat = make.file.tensor((1, 60), X8)
    make.file.operator("RESHAPE", [x, make.numbers(1, 60)], flat)
    w = make.weights((7, 60))
    y = make.file.tensor((1, 7), Y8)
    make.file.operator("FULLY_CONNECTED", [flat, w, make.bias(7)], y, "FullyConnectedOptions")
    other = make.file.operator("RELU", [flat], make.file.tensor((1, 60), X8))
    return make.network(y, other)


def computed_shape(make: Maker, x: int, *rest: int) -> int:
    """[images of x, *rest], computed as networks that leave the batch open have it."""
    file = make.file
    shape, images = file.tensor((4,), dtype="int32"), file.tensor((), dtype="int32")
    file.operator("SHAPE", [x], shape, "ShapeOptions", OutType=2)
    bounds = [make.numbers(0), make.numbers(1), make.numbers(1)]
    file.operator(
        "STRIDED_SLICE", [shape, *bounds], images, "StridedSliceOptions", ShrinkAxisMask=1
    )
    sizes = [file.constant(np.array(size, np.int32)) for size in rest]
    whole = file.tensor((len(rest) + 1,), dtype="int32")
    return file.operator("PACK", [images, *sizes], whole, "PackOptions", ValuesCount=len(rest) + 1)


def flattened_by_computed_shape() -> Network:
    """Keras' Flatten and Dense of a network whose batch is open."""
    make = Maker("computed_reshape")
    x = make.x((2, 3, 4, 5))
    flat = make.file.tensor((2, 60), X8)
    make.file.operator("RESHAPE", [x, computed_shape(make, x, 60)], flat)
    inputs = [flat, make.weights((7, 60)), make.bias(7)]
    y = make.file.tensor((2, 7), Y8)
    return make.network(make.file.operator("FULLY_CONNECTED", inputs, y, "FullyConnectedOptions"))


def transposed_by_computed_shape() -> Network:
    """Keras' Conv2DTranspose of a network whose batch is open."""
    make = Maker("computed_transposed")
    x = make.x((2, 4, 5, 6))
    shape = computed_shape(make, x, 8, 10, 7)
    inputs = [shape, make.weights((7, 3, 3, 6)), x, make.bias(7)]
    y = make.file.tensor((2, 8, 10, 7), Y8)
    fields = {"Padding": SAME, "StrideH": 2, "StrideW": 2}
    return make.network(
        make.file.operator("TRANSPOSE_CONV", inputs, y, "TransposeConvOptions", **fields)
    )
