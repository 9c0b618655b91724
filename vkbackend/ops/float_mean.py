"""float_mean: the mean of float32 values over neighbouring axes, in ONNX Runtime's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    input_ref,
    linear_grid,
    output_ref,
)
from vkbackend.ops.float_plain import Rows, float_shape, plain_options
from vkbackend.quant import onnxruntime_sums

ORDERS = ("sequence", "fours", "packets")  # as float_mean.comp numbers them


@dataclass(frozen=True)
class FloatMean(Operator):
    """Exact: quant.onnxruntime_sums.row_sums, in the order that ONNX Runtime takes on x86, / count.

    `in_sequence`: values are added one after another whatever the axes.
    """

    kind: ClassVar[str] = "float_mean"
    # The order of a sum depends on where its row lies in the whole batch.
    keeps_images: ClassVar[bool] = False

    axes: tuple[int, ...]
    keeps_axes: bool = True
    in_sequence: bool = False

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The reduced shape; GraphError on axes that are no neighbours."""
        shape = float_shape(inputs[0])
        if Rows.of(shape, self.axes).count >= 1 << 24:
            raise GraphError(f"{self.axes} hold too many values to count in float32")
        kept = [1 if axis in self.axes else size for axis, size in enumerate(shape)]
        if not self.keeps_axes:
            kept = [size for axis, size in enumerate(shape) if axis not in self.axes]
        return [TensorType(tuple(kept))]

    def _order(self, rows: Rows) -> str:
        if self.in_sequence or (rows.outer == 1 and rows.inner > 1):
            return "sequence"
        return "packets" if rows.inner == 1 else "fours"

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """quant.onnxruntime_sums.row_sums, divided."""
        rows = Rows.of(node.inputs[0].shape, self.axes)
        values = inputs[0].reshape(rows.outer, rows.count, rows.inner)
        sums = onnxruntime_sums.row_sums(values, self._order(rows))
        return [(sums / np.float32(rows.count)).reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """NCHW."""
        return plain_options("rows", node, gpu)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per row."""
        rows = Rows.of(node.inputs[0].shape, self.axes)
        count = rows.outer * rows.inner
        push = {"rows": count, "count": rows.count, "inner": rows.inner}
        bindings = {"Input": input_ref(), "Output": output_ref()}
        constants = {"ORDER": ORDERS.index(self._order(rows))}
        return [Dispatch("float_mean", bindings, linear_grid(count), push, constants)]
