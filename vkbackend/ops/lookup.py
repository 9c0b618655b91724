"""lookup: any function of one int8 value, as a table of 256 bytes that the frontend fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import PACKED, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    Rejected,
    Work,
    input_ref,
    linear_grid,
    output_ref,
    range_problem,
    weights_ref,
)


@dataclass(frozen=True)
class Lookup(Operator):
    """y = table[x - least value of x's type]; `function` names it for people (relu, sigmoid ...).

    Constant: table, 256 values of the output's type.
    """

    kind: ClassVar[str] = "lookup"
    constant_roles: ClassVar[tuple[str, ...]] = ("table",)

    output: Quantization
    function: str

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's shape with this quantisation; GraphError on a wrong table."""
        _ = inputs[0].quantized
        verify_table(constants["table"], 256, self.output)
        return [TensorType(inputs[0].shape, self.output)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Indexing."""
        least = node.inputs[0].quantized.range[0]
        return [node.constants["table"][inputs[0].astype(np.int32) - least]]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Any packed layout, the same on both sides: words are taken as they lie."""
        return same_layout_options("table", node, gpu)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The table as int8 storage, four bytes a word."""
        return {"table": stored_table(node.constants["table"], self.output)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per word."""
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        bindings = {"Input": input_ref(), "Output": output_ref(), "Table": weights_ref("table")}
        return [Dispatch("lookup", bindings, linear_grid(words), {"word_count": words})]


def verify_table(table: Array, size: int, output: Quantization) -> None:
    """Raises GraphError unless the table has that many values of the output's type."""
    if table.shape != (size,) or table.dtype != output.dtype:
        raise GraphError(f"table is {output.dtype}[{size}], got {table.dtype}{list(table.shape)}")


def stored_table(table: Array, output: Quantization) -> Array:
    """A table of the output's type as words of int8 storage."""
    stored = table.astype(np.int32) + output.storage_offset
    return stored.astype(np.int8).view(np.int32)


def same_layout_options(algorithm: str, node: BoundNode, gpu: GpuInfo) -> Options:
    """Candidates of an element-wise kernel: one packed layout for every tensor."""
    found, rejected = [], []
    for layout in PACKED:
        size = size_bytes(layout, node.outputs[0].shape)
        problem = range_problem(size, "the tensor", gpu)
        if problem:
            rejected.append(Rejected(algorithm, problem))
            continue
        count = len(node.inputs)
        work = Work(bytes_read=size * count, bytes_written=size, invocations=size // 4)
        found.append(Candidate(algorithm, (layout,) * count, layout, work))
    return Options(tuple(found), tuple(rejected))
