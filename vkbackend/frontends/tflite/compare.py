"""LiteRT's reference kernels on the same inputs: where our tensors first differ from theirs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vkbackend.errors import VkBackendError
from vkbackend.frontends.tflite.reader import TfliteModel, read
from vkbackend.graph import Array


@dataclass(frozen=True)
class Difference:
    """The first operator, in the file's order, with an output that differs; `index` is the first
    such element's, in the file's axis order. `theirs` is LiteRT's value.
    """

    node: str
    operator: str
    tensor: str
    index: tuple[int, ...]
    ours: float
    theirs: float
    wrong: int
    elements: int


@dataclass(frozen=True)
class Comparison:
    """Tensors and values that are equal, up to the first difference where there is one."""

    tensors: int
    values: int
    difference: Difference | None


def first_difference(
    path: str | Path, inputs: Mapping[str, Array], ours: Mapping[str, Array]
) -> Comparison:
    """Runs LiteRT's reference interpreter and compares every tensor that it and we have.

    `inputs` by name, as the file declares them; `ours` are tensors of the graph that from_tflite
    makes of the file, by name, in NCHW order. Tensors that folding has taken away are left out.
    Raises VkBackendError without LiteRT, and where it cannot run the file.
    """
    model = read(path)
    theirs = _run(model, Path(path), inputs)
    tensors = values = 0
    for node in model.operators:
        for index in node.outputs:
            tensor = model.tensors[index]
            if tensor.name not in ours or index not in theirs:
                continue
            found = _difference(_in_file_order(ours[tensor.name]), theirs[index])
            if found:
                return Comparison(
                    tensors, values, Difference(node.name, node.kind, tensor.name, *found)
                )
            tensors += 1
            values += theirs[index].size
    return Comparison(tensors, values, None)


def _run(model: TfliteModel, path: Path, inputs: Mapping[str, Array]) -> dict[int, Array]:
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
            str(path),
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
    return {
        index: array for index in computed if (array := _tensor(interpreter, index)) is not None
    }


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
    ours: Array, theirs: Array
) -> tuple[tuple[int, ...], float, float, int, int] | None:
    """Index, both values, how many elements differ and how many there are; None where none does."""
    different = ours != theirs
    if ours.dtype == np.float32:  # -0.0 and NaN count as bits
        bits = (np.ascontiguousarray(array).view(np.uint32) for array in (ours, theirs))
        different = np.not_equal(*bits)
    wrong = np.argwhere(different)
    if not len(wrong):
        return None
    index = tuple(int(position) for position in wrong[0])
    return index, ours[index].item(), theirs[index].item(), len(wrong), ours.size
