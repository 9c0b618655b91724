"""Float operators between dequantise and quantise, as the delegate finds them in a .pte file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.executorch_builder import Delegate, Number
from vkbackend.frontends.executorch import from_executorch
from vkbackend.graph import Array, Graph, Quantization
from vkbackend.quant import affine
from vkbackend.resolve import resolve

X = Quantization(0.043, 9)
Y = Quantization(0.027, -21)
Build = Callable[[Delegate, Number], Number]
Real = Callable[[Array], Array]
SHAPE = (2, 8, 6, 5)


def activations(shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Array:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def real(values: Array, of: Quantization = X) -> Array:
    return affine.dequantize(values, of)


def quantized(values: Array, to: Quantization = Y) -> Array:
    return affine.quantize(np.asarray(values, np.float32), to, reciprocal=True)


def call(op: str, *arguments: object, shape: tuple[int, ...] = SHAPE) -> Build:
    """One float operator whose first argument is the value before it."""
    return lambda delegate, value: delegate.call(
        f"aten.{op}", value, *arguments, out=delegate.tensor(shape, "float32")
    )


def chain(*builds: Build) -> Build:
    """Operators one after another."""

    def build(delegate: Delegate, value: Number) -> Number:
        for each in builds:
            value = each(delegate, value)
        return value

    return build


def converted(delegate: Delegate, *outputs: Number) -> Graph:
    for output in outputs:
        delegate.result(output)
    graph = from_executorch(delegate.blob())
    resolve(graph, "mali_g610")
    return graph


def island(build: Build, shape: tuple[int, ...], output: Quantization | None = Y) -> Graph:
    """int8 -> float -> int8, or float where there is no output quantisation."""
    delegate = Delegate()
    source = Number(delegate.input(SHAPE, "int8"))
    value = build(delegate, delegate.dequantize(source, SHAPE, X))
    return converted(delegate, delegate.quantize(value, shape, output) if output else value)


def clipped(low: float, high: float) -> Real:
    return lambda x: np.clip(x, np.float32(low), np.float32(high))


def hardswish(x: Array) -> Array:
    return x * np.clip(x + np.float32(3), 0, 6) / np.float32(6)


def sigmoid(x: Array) -> Array:
    return (1 / (1 + np.exp(-x.astype(np.float64)))).astype(np.float32)
