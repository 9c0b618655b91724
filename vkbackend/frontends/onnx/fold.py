"""Nodes whose inputs are all constant are computed while a network is read, and shapes are known.

The onnx package's own reference implementation computes them, once per trial where they differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vkbackend.frontends.onnx.inputs import TRIALS
from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import (
    Constant,
    QuantizedConstant,
    RefusedError,
    Value,
    shapes_of,
)
from vkbackend.graph import Array, Shape

LARGEST = 1 << 26  # elements that are worth computing here
_MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
# They have handlers of their own for constants, or no values to compute.
_NOT_FOLDED = ("QuantizeLinear", "DequantizeLinear", "RandomNormal", "RandomUniform")


def folds(node: OnnxNode) -> bool:
    """Whether a node is computed here whatever its inputs are."""
    return node.op_type in ("Shape", "Size") and not node.domain


def folded(scope: Scope, node: OnnxNode) -> list[Value] | None:
    """The node's outputs as constants; None where it has to run. Raises RefusedError."""
    if folds(node):
        return [_shape(scope, node)]
    values = [scope.values.get(name) for name in node.inputs if name]
    if values and isinstance(values[0], QuantizedConstant) and node.op_type in _MOVES:
        return [_moved(scope, node, values[0])]
    is_constant = values and all(isinstance(value, Constant) for value in values)
    if not is_constant or node.domain or node.op_type in _NOT_FOLDED:
        return None
    return _computed(scope, node)


def _shape(scope: Scope, node: OnnxNode) -> Constant:
    shapes = shapes_of(scope.value(node, 0), TRIALS)
    assert shapes is not None
    begin, end = node.integer("start", 0), node.attributes.get("end")

    def of(shape: Shape) -> Array:
        if node.op_type == "Size":
            return np.array(int(np.prod(shape)), np.int64)
        return np.array(shape[begin:end], np.int64)

    arrays = [None if shape is None else of(shape) for shape in shapes]
    assert arrays[0] is not None
    return Constant(arrays[0], tuple(arrays))


def _computed(scope: Scope, node: OnnxNode) -> list[Value]:
    inputs = [scope.values[name] if name else None for name in node.inputs]
    constants = [value for value in inputs if isinstance(value, Constant)]
    differs = any(constant.per_trial for constant in constants)
    results: list[list[Array] | None] = []
    for trial in range(TRIALS if differs else 1):
        feeds: dict[str, Array] = {}
        for name, value in zip(node.inputs, inputs, strict=True):
            array = value.arrays(TRIALS)[trial] if isinstance(value, Constant) else None
            if array is not None:
                feeds[name] = array
        known = feeds.keys() >= {name for name in node.inputs if name}
        try:
            results.append(_run(scope, node, feeds) if known else None)
        except RefusedError:
            if trial == 0:
                raise
            results.append(None)
    first = results[0]
    assert first is not None
    if not differs:
        return [Constant(array) for array in first]
    return [
        Constant(array, tuple(None if r is None else r[index] for r in results))
        for index, array in enumerate(first)
    ]


def _moved(scope: Scope, node: OnnxNode, value: QuantizedConstant) -> QuantizedConstant:
    """A quantised constant with its elements moved: weights that are transposed before use."""
    feeds = {name: scope.array(node, index) for index, name in enumerate(node.inputs) if name}
    feeds[node.inputs[0]] = value.array
    axis = value.axis
    if value.scale.size > 1:
        if node.op_type != "Transpose":
            raise RefusedError("a constant with several scales is moved by it")
        order = node.integers("perm") or tuple(reversed(range(value.array.ndim)))
        axis = order.index(axis)
    return replace(value, array=_run(scope, node, feeds)[0], axis=axis)


def _run(scope: Scope, node: OnnxNode, feeds: dict[str, Array]) -> list[Array]:
    """The node alone, by the onnx package's reference implementation. Raises RefusedError."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    if sum(array.size for array in feeds.values()) > LARGEST:
        raise RefusedError("it computes a constant of more than 2^26 elements")
    outputs = [name for name in node.outputs if name]
    proto = helper.make_node(node.op_type, node.inputs, node.outputs, **_attributes(node))
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([proto], "constant", infos, results)
    opset = [helper.make_opsetid("", scope.model.opset)]
    try:
        model = helper.make_model(graph, opset_imports=opset)
        found = ReferenceEvaluator(model).run(outputs, feeds)
    except Exception as error:  # whatever an operator's implementation raises
        raise RefusedError(f"its constant cannot be computed: {error}") from error
    return [np.asarray(array) for array in found]


def _attributes(node: OnnxNode) -> dict[str, Any]:
    from onnx import numpy_helper

    return {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in node.attributes.items()
    }
