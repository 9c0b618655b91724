"""binary: any function of two int8 values (add, mul ...) of one shape.

The truth is a table of 65,536 bytes that the frontend fills. Where the frontend has found an
affine form and enumeration proves it equal to the table, arithmetic replaces the look-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    Rejected,
    input_ref,
    linear_grid,
    output_ref,
    weights_ref,
)
from vkbackend.ops.lookup import same_layout_options, stored_table, verify_table
from vkbackend.quant.pair import Affine, affine_table


@dataclass(frozen=True)
class Binary(Operator):
    """y = table[256 * (a - least) + (b - least)]; `function` names it (add, mul, sub).

    Constant: table, 65,536 values of the output's type. `affine` is (a_scale, b_scale, offset) of
    quant.pair.affine_table, only where that form gives the very table.
    """

    kind: ClassVar[str] = "binary"
    constant_roles: ClassVar[tuple[str, ...]] = ("table",)

    output: Quantization
    function: str
    affine: tuple[float, float, float] | None = None

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The inputs' shape with this quantisation; GraphError where shapes or tables disagree."""
        a, b = inputs
        _ = a.quantized, b.quantized
        if a.shape != b.shape:
            raise GraphError(f"both inputs have one shape, got {a} and {b}")
        verify_table(constants["table"], 65536, self.output)
        if self.affine is not None:
            proved = affine_table(Affine(*self.affine), a.quantized, b.quantized, self.output)
            if not np.array_equal(proved, constants["table"]):
                raise GraphError(f"affine {self.affine} does not give the table")
        return [TensorType(a.shape, self.output)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Indexing."""
        a, b = (
            values.astype(np.int32) - tensor.quantized.range[0]
            for values, tensor in zip(inputs, node.inputs, strict=True)
        )
        return [node.constants["table"][256 * a + b]]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """The table always; arithmetic where it is proved equal."""
        table = same_layout_options("table", node, gpu)
        if self.affine is None:
            reason = "no affine form gives the bits of the table"
            return Options(table.eligible, (*table.rejected, Rejected("arithmetic", reason)))
        arithmetic = same_layout_options("arithmetic", node, gpu)
        return Options(arithmetic.eligible + table.eligible, arithmetic.rejected + table.rejected)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The table as int8 storage, for the algorithm that reads it."""
        if choice.algorithm == "arithmetic":
            return {}
        return {"table": stored_table(node.constants["table"], self.output)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per word."""
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        bindings = {"InputA": input_ref(0), "InputB": input_ref(1), "Output": output_ref()}
        if choice.algorithm == "table":
            bindings["Table"] = weights_ref("table")
            return [Dispatch("binary_table", bindings, linear_grid(words), {"word_count": words})]
        assert self.affine is not None
        low, high = self.output.range
        offset = self.output.storage_offset
        push: dict[str, int | float] = {
            "word_count": words,
            "a_storage_offset": node.inputs[0].quantized.storage_offset,
            "b_storage_offset": node.inputs[1].quantized.storage_offset,
            "output_storage_offset": offset,
            "low": low,
            "high": high,
            **dict(zip(("a_scale", "b_scale", "offset"), self.affine, strict=True)),
        }
        return [Dispatch("binary_arithmetic", bindings, linear_grid(words), push)]
