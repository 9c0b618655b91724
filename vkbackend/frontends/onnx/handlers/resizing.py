"""Resize: nearest moves bytes, linear computes in float32 and quantises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vkbackend.frontends.onnx.handlers.shapes import input_shapes
from vkbackend.frontends.onnx.moves import materialised
from vkbackend.frontends.onnx.picks import each, picked
from vkbackend.frontends.onnx.qdq import activation, clamped
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Deferred,
    Functions,
    RefusedError,
    Stored,
    Tensor,
    Value,
)
from vkbackend.frontends.onnx.window import open_sizes
from vkbackend.graph import Array, Quantization, Shape
from vkbackend.ops.onnx_resize import OnnxResize
from vkbackend.quant.onnxruntime_resize import COORDINATES, NEAREST, output_size

Pair = tuple[int, int]


def resize(scope: Scope, node: OnnxNode) -> Value:
    """Resize of height and width, by scales or to sizes."""
    op = _operator(scope, node)
    if op.rounding is not None:

        def picked_from(source: Stored, name: str) -> Stored:
            return scope.add(node.name, op, [source], name)

        return picked(scope, node, picked_from, lambda s: _resized(op, s), any_function=True)
    value = scope.value(node, 0)
    if isinstance(value, Tensor) and value.quantization is not None:
        # Bytes are resized as the whole numbers that they are.
        return scope.add(node.name, op, [materialised(scope, value)], node.outputs[0])
    source = activation(scope, node, 0)

    def emit(name: str, output: Quantization, functions: Functions) -> Stored:
        linear = OnnxResize(op.coordinate, op.scales, op.sizes, output=output)
        made = scope.fresh(f"{name}.resized") if functions else name
        result = scope.add(node.name, linear, [source], made)
        return clamped(scope, node, result, name, functions) if functions else result

    return Deferred(node, emit, each(source.shapes, lambda shape: _resized(op, shape)))


def _operator(scope: Scope, node: OnnxNode) -> OnnxResize:
    """The operator; linear mode without the quantisation of its result."""
    mode = node.text("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise RefusedError(f"mode {mode!r} is not supported; nearest and linear are")
    for name in ("antialias", "exclude_outside"):
        if node.integer(name, 0):
            raise RefusedError(f"{name} is not supported")
    if node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise RefusedError("keep_aspect_ratio_policy is not supported")
    is_old = scope.model.opset < 11
    coordinate = node.text(
        "coordinate_transformation_mode", "asymmetric" if is_old else "half_pixel"
    )
    rounding = node.text("nearest_mode", "floor" if is_old else "round_prefer_floor")
    if coordinate not in COORDINATES or rounding not in NEAREST:
        raise RefusedError(f"{coordinate!r} with {rounding!r} is not supported")
    scales, sizes = _target(scope, node)
    return OnnxResize(coordinate, scales, sizes, rounding if mode == "nearest" else None)


def _resized(op: OnnxResize, shape: Shape) -> Shape:
    if op.sizes is not None:
        return (*shape[:2], *op.sizes)
    height, width = (output_size(n, scale) for n, scale in zip(shape[2:], op.scales, strict=True))
    return (*shape[:2], height, width)


def _target(scope: Scope, node: OnnxNode) -> tuple[tuple[float, float], Pair | None]:
    """Scales of height and width; or sizes, where those follow from no scale."""
    shapes = input_shapes(scope, node)
    known = [shape for shape in shapes if shape is not None]
    if len(known[0]) != 4:
        raise RefusedError(f"an input of {len(known[0])} dimensions; 4 are supported")
    is_old = scope.model.opset < 11
    at = 1 if is_old else 2
    if node.has_input(at) and scope.array(node, at).size:
        arrays = [a for a in scope.arrays(node, at) if a is not None]
        scales = [_on_axes(scope, node, array, (1.0,) * 4) for array in arrays]
        if any(each_scale[:2] != (1.0, 1.0) for each_scale in scales):
            raise RefusedError(f"scales {list(scales[0])}; only height and width are resized")
        if len(set(scales)) == 1:
            return (float(scales[0][2]), float(scales[0][3])), None
        made = [_sizes_of(s, shape) for s, shape in zip(scales, known, strict=False)]
    else:
        pairs = [
            (shape, array)
            for shape, array in zip(shapes, scope.arrays(node, 3), strict=True)
            if shape is not None and array is not None
        ]
        known = [shape for shape, _ in pairs]
        made = [tuple(map(int, _on_axes(scope, node, array, shape))) for shape, array in pairs]
    if any(size[1] != shape[1] for size, shape in zip(made, known, strict=True)):
        raise RefusedError(f"sizes {list(made[0])} of {list(known[0])}: channels are not resized")
    return _from_sizes(scope, made, known)


def _on_axes(
    scope: Scope, node: OnnxNode, array: Array, whole: Sequence[float]
) -> tuple[float, ...]:
    """Values for all four axes: since opset 18 they may be stated for some only."""
    found = list(whole)
    axes = node.integers("axes") or tuple(range(4))
    for axis, value in zip(axes, array.reshape(-1), strict=True):
        found[axis] = float(value)
    return tuple(found)


def _sizes_of(scales: tuple[float, ...], shape: Shape) -> tuple[int, ...]:
    return tuple(output_size(n, scale) for n, scale in zip(shape, scales, strict=True))


def _from_sizes(
    scope: Scope, made: Sequence[tuple[int, ...]], known: Sequence[Shape]
) -> tuple[tuple[float, float], Pair | None]:
    """One scale that makes all these sizes, exactly; else the sizes of the first trial.

    A file whose own input has one size states sizes where it means scales: those are taken where
    they are short fractions.
    """
    follows = open_sizes(scope)
    scales = []
    for axis in (2, 3):
        scale = np.float32(made[0][axis]) / np.float32(known[0][axis])
        fits = float(scale) * 64 == round(float(scale) * 64)
        if follows:
            fits = all(
                np.float32(size[axis]) / np.float32(shape[axis]) == scale
                and output_size(shape[axis], float(scale)) == size[axis]
                for size, shape in zip(made, known, strict=True)
            )
        if not fits:
            return (1.0, 1.0), (made[0][2], made[0][3])
        scales.append(float(scale))
    return (scales[0], scales[1]), None


HANDLERS = {"Resize": resize}
