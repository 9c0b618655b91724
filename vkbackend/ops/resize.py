"""resize: each pixel from one or four pixels of the input, by tables that the frontend fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    input_ref,
    linear_grid,
    output_ref,
    weights_ref,
)
from vkbackend.ops.conv2d.geometry import image_of
from vkbackend.ops.packed import layout_constants, packed_options, sizes_push

RULES = ("integer", "float")
ONE = 1 << 10  # weights of the rule `integer` are in 1 / 1024


@dataclass(frozen=True)
class Resize(Operator):
    """y[h, w] from x at rows[h] and columns[w]; quantisation is kept.

    Constants rows and columns: int32 [output size, 4], each (first, second, weight of first,
    weight of second). Rule `integer`: weights in 1 / 1024, the sum of the four values times row's
    and column's weight rounded, halves away from zero. Rule `float`: weights as the bits of float32
    numbers, each step rounded to float32, one half added and the fraction cut off.
    `function` names it for people. Any rule of nearest or bilinear resizing is such a table.
    """

    kind: ClassVar[str] = "resize"
    fills_slices: ClassVar[bool] = True
    constant_roles: ClassVar[tuple[str, ...]] = ("rows", "columns")

    function: str
    rule: str = "integer"

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """Resized shape; GraphError on tables that read outside the input."""
        shape, quantization = image_of(inputs[0], "the input")
        if len(shape) != 4:
            raise GraphError(f"the input has shape (n, c, h, w), got {shape}")
        if self.rule not in RULES:
            raise GraphError(f"rule is one of {', '.join(RULES)}, got {self.rule!r}")
        for role, size in (("rows", shape[2]), ("columns", shape[3])):
            self._verify_table(role, constants[role], size)
        out = (*shape[:2], len(constants["rows"]), len(constants["columns"]))
        return [TensorType(out, quantization)]

    def _verify_table(self, role: str, table: Array, size: int) -> None:
        if table.dtype != np.int32 or table.ndim != 2 or table.shape[1] != 4:
            raise GraphError(f"{role} is int32 [n, 4], got {table.dtype}{list(table.shape)}")
        if table[:, :2].min() < 0 or table[:, :2].max() >= size:
            raise GraphError(f"{role} reads outside the {size} of the input")
        # Beyond these the sums leave int32; a NaN is no number between them either.
        weights = self._weights(table) / (ONE if self.rule == "integer" else 1)
        if not ((weights >= -0.5) & (weights <= 1.5)).all():
            raise GraphError(f"{role} holds a weight outside -0.5..1.5")

    def _weights(self, table: Array) -> Array:
        """Columns 2 and 3 as numbers of the rule."""
        weights = np.ascontiguousarray(table[:, 2:])
        return weights.astype(np.int64) if self.rule == "integer" else weights.view(np.float32)

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Four gathers, summed in the order of the kernel."""
        rows, columns = (node.constants[role] for role in self.constant_roles)
        row_weights, column_weights = self._weights(rows), self._weights(columns)
        values = inputs[0].astype(row_weights.dtype)
        total = np.zeros(node.outputs[0].shape, values.dtype)
        for column in (0, 1):
            for row in (0, 1):
                read = values[:, :, rows[:, row]][:, :, :, columns[:, column]]
                total += read * row_weights[:, row, None] * column_weights[:, column]
        if self.rule == "integer":
            rounded = np.sign(total) * ((np.abs(total) + ONE * ONE // 2) // (ONE * ONE))
        else:
            rounded = total + np.float32(0.5)
        low, high = node.outputs[0].quantized.range
        return [np.clip(rounded, low, high).astype(inputs[0].dtype)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """`nearest` where no second value has weight, else `bilinear`; channel-packed layouts."""
        one = ONE if self.rule == "integer" else 1
        tables = (self._weights(node.constants[role]) for role in self.constant_roles)
        nearest = all((table == (one, 0)).all() for table in tables)
        algorithm = "nearest" if nearest else "bilinear"
        reads = 1 if nearest else 4
        return packed_options(algorithm, node, gpu, lambda _, written: reads * written)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The tables as they are."""
        return {role: node.constants[role].reshape(-1) for role in self.constant_roles}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per output word."""
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        push = {
            **sizes_push(node),
            "storage_offset": node.inputs[0].quantized.storage_offset,
            "word_count": words,
        }
        constants = {
            **layout_constants(choice),
            "NEAREST": choice.algorithm == "nearest",
            "FLOAT": self.rule == "float",
        }
        bindings = {"Input": input_ref(), "Output": output_ref()}
        bindings |= {"Rows": weights_ref("rows"), "Columns": weights_ref("columns")}
        return [Dispatch("resize", bindings, linear_grid(words), push, constants)]
