"""A network here and in ONNX Runtime, and the first tensor in which they differ."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vkbackend import reference
from vkbackend.frontends.comparison import (
    Comparison,
    Difference,
    differing,
    first_of,
    verify_types,
)
from vkbackend.frontends.onnx import oracle
from vkbackend.frontends.onnx.convert import convert
from vkbackend.frontends.onnx.reader import (
    MICROSOFT_DOMAIN,
    OnnxModel,
    OnnxNode,
    import_onnx,
    read,
)
from vkbackend.graph import Array, Graph

if TYPE_CHECKING:
    import onnx

RELATIVE, ABSOLUTE = 1e-5, 1e-6  # of float32 tensors, which hold exponentials and float sums

# They make something else of values of 8 bits.
_READERS = ("DequantizeLinear", "Cast", "Shape", "Size")

Run = Callable[[Graph, Mapping[str, Array]], Mapping[str, Array]]


def first_difference(
    path_or_model: str | os.PathLike[str] | onnx.ModelProto,
    inputs: Mapping[str, Array],
    *,
    run: Run | None = None,
) -> Comparison:
    """Runs a network here and in ONNX Runtime's int8 kernels, and compares tensor by tensor.

    Compared are the network's outputs, as it is and with every quantised tensor that both have as
    an output too; float32 tensors within a tolerance. `inputs` by name. `run(graph, inputs)` gives
    every output of a graph by name: on a device, say; the NumPy reference without.
    Raises VkBackendError without ONNX Runtime and where it cannot run the file, and whatever
    from_onnx and `run` raise.
    """
    model, run = read(path_or_model), run or reference.run
    shapes = {name: array.shape for name, array in inputs.items()}
    whole = convert(model, 1, None, shapes)
    opened = convert(model, 1, None, shapes, optional=_quantized_tensors(model))
    nodes = {name: node for node in model.nodes for name in node.outputs if name in opened.outputs}
    expected = oracle.run(_proto(path_or_model), inputs, list(nodes), model.source)
    found = run(opened, inputs)
    difference, close = None, []
    for name, node in nodes.items():
        difference = difference or _difference(node, name, found[name], expected[name])
        if not difference and differing(found[name], expected[name]).any():
            close.append(name)
    # What is an output is not fused with what follows: so the network also runs as users run it.
    for name, array in {} if difference else run(whole, inputs).items():
        if name in nodes:
            difference = difference or _difference(nodes[name], name, array, expected[name])
    values = sum(array.size for array in expected.values())
    return Comparison(tuple(nodes), values, difference, tuple(close))


def _proto(path_or_model: str | os.PathLike[str] | onnx.ModelProto) -> Any:
    library = import_onnx()
    is_loaded = isinstance(path_or_model, library.ModelProto)
    return path_or_model if is_loaded else library.load(path_or_model)


def _quantized_tensors(model: OnnxModel) -> list[str]:
    """What quantised operators write, and what is made of it in 8 bits, in the file's order."""
    found: dict[str, None] = {}
    for node in model.nodes:
        is_quantized = node.op_type == "QuantizeLinear" or (
            node.op_type.startswith("Q") and node.domain in ("", MICROSOFT_DOMAIN)
        )
        if is_quantized or (
            node.op_type not in _READERS and not found.keys().isdisjoint(node.inputs)
        ):
            found.update(dict.fromkeys(node.outputs))
    return list(found)


def _difference(node: OnnxNode, name: str, found: Array, expected: Array) -> Difference | None:
    verify_types(f"{node.label}: {name}", "ONNX Runtime", found, expected)
    wrong = found != expected
    if found.dtype == np.float32:
        wrong = ~np.isclose(found, expected, RELATIVE, ABSOLUTE, equal_nan=True)
    if not wrong.any():
        return None
    return first_of(name, node.name, node.op_type, wrong, found, expected)
