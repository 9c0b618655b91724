"""A network here and in LiteRT's reference kernels, and the first tensor in which they differ."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vkbackend import reference
from vkbackend.errors import VkBackendError
from vkbackend.frontends.comparison import (
    Comparison,
    Difference,
    differing,
    first_of,
    verify_types,
)
from vkbackend.frontends.tflite.convert import convert
from vkbackend.frontends.tflite.reader import TfliteModel, TfliteOperator, read
from vkbackend.graph import Array, Graph

Run = Callable[[Graph, Mapping[str, Array]], Mapping[str, Array]]


def first_difference(
    path: str | os.PathLike[str],
    inputs: Mapping[str, Array],
    *,
    run: Run | None = None,
) -> Comparison:
    """Runs a network here and in LiteRT's reference interpreter, and compares every tensor.

    `inputs` by name, as the file declares them. `run(graph, inputs)` gives every output of a
    graph by name, in NCHW order: on a device, say; the NumPy reference without. The network runs
    as it is, and with every tensor as an output too; left out are tensors that the graph does not
    have, because they were folded into others.
    Raises VkBackendError without LiteRT and where it cannot run the file, and whatever from_tflite
    and `run` raise.
    """
    model, run = read(path), run or _run_reference
    graph = convert(model, None)
    expected = _run_litert(model, os.fspath(path), inputs)
    makers = {
        model.tensors[index].name: (node, expected[index])
        for node in model.operators
        for index in node.outputs
        if index in expected
    }
    made = {name for node in graph.nodes for name in node.outputs}
    further = [name for name in makers if name in made and name not in graph.outputs]
    found = run(dataclasses.replace(graph, outputs=(*graph.outputs, *further)), inputs)
    compared = [name for name in makers if name in found]
    difference = None
    for name in compared:
        difference = difference or _difference(*makers[name], name, found[name])
    # What is an output is not fused with what follows: so the network also runs as users run it.
    for name, array in {} if difference else run(graph, inputs).items():
        if name in makers and name in graph.outputs:
            difference = difference or _difference(*makers[name], name, array)
    values = sum(makers[name][1].size for name in compared)
    return Comparison(tuple(compared), values, difference)


def _run_reference(graph: Graph, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
    logical = {n: np.moveaxis(x, -1, 1) if x.ndim > 2 else x for n, x in inputs.items()}
    return reference.run(graph, logical)


def _run_litert(model: TfliteModel, path: str, inputs: Mapping[str, Array]) -> dict[int, Array]:
    """What LiteRT computes: every operator's outputs by tensor index."""
    try:
        litert: Any = importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise VkBackendError(
            f"the comparison needs LiteRT, which cannot be imported ({error}): "
            "pip install ai-edge-litert"
        ) from None
    try:
        interpreter = litert.Interpreter(
            path,
            experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
        for index in dict.fromkeys(model.inputs):
            name = model.tensors[index].name
            if name in inputs:
                interpreter.set_tensor(index, inputs[name])
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise VkBackendError(f"{path}: LiteRT cannot run this file: {reason}") from None
    computed = dict.fromkeys(index for node in model.operators for index in node.outputs)
    found = {index: _tensor(interpreter, index) for index in computed}
    return {index: array for index, array in found.items() if array is not None}


def _tensor(interpreter: Any, index: int) -> Array | None:
    """A tensor's values; None where the interpreter keeps none."""
    try:
        return np.asarray(interpreter.get_tensor(index))
    except ValueError:
        return None


def _in_file_order(array: Array) -> Array:
    """A tensor of the graph in the axis order of the file."""
    return np.moveaxis(array, 1, -1) if array.ndim > 2 else array


def _difference(
    node: TfliteOperator, expected: Array, name: str, found: Array
) -> Difference | None:
    found = _in_file_order(found)
    verify_types(f"{node.kind} {node.name!r}: {name}", "LiteRT", found, expected)
    wrong = differing(found, expected)
    return first_of(name, node.name, node.kind, wrong, found, expected) if wrong.any() else None
