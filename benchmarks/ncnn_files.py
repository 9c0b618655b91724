"""ncnn's model files: layers in a text, weights in a binary file, both in the same order.

A blob may be read by one layer only: a Split is put where several want it. Shape hints (parameter
30) let ncnn fix sizes in its shaders, which is its best setting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]
Value = int | float | Sequence[float]

MAGIC = 7767517
INT8_TAG = 0x000D4B38  # before weights of 8 bits; 0 stands before float32
SHAPE_HINTS = 30
ARRAY_KEY = -23300  # minus the number of a parameter that is an array
INT8_OUT = 100  # added to a layer's int8 form when its output is int8 too


@dataclass(frozen=True)
class Layer:
    """One line of the text and its part of the binary file; a shape is (w, h, c) or (w,)."""

    kind: str
    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    shape: Sequence[int]
    parameters: Mapping[int, Value] = field(default_factory=dict)
    weights: bytes = b""


def render(layers: Sequence[Layer], *, hints: bool) -> tuple[str, bytes]:
    """The text and the binary file."""
    single = list(_with_splits(layers))
    blobs = sum(len(layer.outputs) for layer in single)
    lines = [str(MAGIC), f"{len(single)} {blobs}", *(_line(layer, hints) for layer in single)]
    return "\n".join(lines) + "\n", b"".join(layer.weights for layer in single)


def _with_splits(layers: Sequence[Layer]) -> list[Layer]:
    readers = Counter(name for layer in layers for name in layer.inputs)
    copies: dict[str, list[str]] = {}
    result = []
    for layer in layers:
        inputs = [copies[name].pop(0) if name in copies else name for name in layer.inputs]
        result.append(replace(layer, inputs=inputs))
        for name in layer.outputs:
            if readers[name] > 1:
                copies[name] = [f"{name}.{copy}" for copy in range(readers[name])]
                result.append(
                    Layer("Split", f"{name}.split", [name], list(copies[name]), layer.shape)
                )
    return result


def _line(layer: Layer, hints: bool) -> str:
    parameters = dict(layer.parameters)
    if hints:
        parameters[SHAPE_HINTS] = [*_hint(layer.shape)] * len(layer.outputs)
    words = [layer.kind, layer.name, len(layer.inputs), len(layer.outputs)]
    return " ".join(
        [
            *map(str, [*words, *layer.inputs, *layer.outputs]),
            *(_parameter(key, value) for key, value in parameters.items()),
        ]
    )


def _hint(shape: Sequence[int]) -> tuple[int, ...]:
    """Dimensions, then width, height and channels."""
    return len(shape), *shape, *[1] * (3 - len(shape))


def _parameter(key: int, value: Value) -> str:
    if isinstance(value, Sequence):
        return f"{ARRAY_KEY - key}={len(value)}," + ",".join(map(_number, value))
    return f"{key}={_number(value)}"


def _number(value: float) -> str:
    return f"{value:e}" if isinstance(value, float) else str(value)


def float_weights(weight: Float32, bias: Float32) -> bytes:
    """The binary part of a layer that computes in float."""
    return _tag(0) + weight.tobytes() + bias.tobytes()


def int8_weights(
    weight: Int8, bias: Float32, weight_scales: Float32, scales: Sequence[float]
) -> bytes:
    """That of a layer in int8; scales (of input, and of an int8 output) are those that multiply."""
    padding = bytes(-weight.size % 4)
    rest = (bias, weight_scales, np.array(scales))
    floats = b"".join(part.astype(np.float32).tobytes() for part in rest)
    return _tag(INT8_TAG) + weight.tobytes() + padding + floats


def _tag(number: int) -> bytes:
    return number.to_bytes(4, "little")


def convolution(
    name: str,
    x: str,
    y: str,
    shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: int,
    pad: int,
    groups: int,
    int8: int,
    weights: bytes,
    activation: Mapping[int, Value] | None = None,
) -> Layer:
    """A convolution with bias; `int8` is 0 (float), 1 or 2 (by kind), plus INT8_OUT."""
    parameters: dict[int, Value] = {
        0: weight_shape[0], 1: weight_shape[2], 3: stride, 4: pad, 5: 1,
        6: int(np.prod(weight_shape)),
    }  # fmt: skip
    if groups > 1:
        parameters[7] = groups
    if int8:
        parameters[8] = int8
    parameters |= activation or {}
    kind = "ConvolutionDepthWise" if groups > 1 else "Convolution"
    return Layer(kind, name, [x], [y], shape, parameters, weights)


def int8_form(groups: int, *, int8_out: bool) -> int:
    """What a convolution's parameter for int8 says."""
    return (1 if groups > 1 else 2) + (INT8_OUT if int8_out else 0)
