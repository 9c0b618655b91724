"""float_mean: the mean or sum of float32 values over neighbouring axes, in ONNX Runtime's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Shape, TensorType
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

    `in_sequence`: values are added one after another whatever the axes. Without `divides` the sum.
    """

    kind: ClassVar[str] = "float_mean"
    # The order of a sum depends on where its row lies in the whole batch.
    keeps_images: ClassVar[bool] = False

    axes: tuple[int, ...]
    keeps_axes: bool = True
    in_sequence: bool = False
    divides: bool = True

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

    def _order(self, shape: Shape) -> str:
        if max(self.axes) == len(shape) - 1 and not self.in_sequence:
            return "packets"
        is_first = Rows.of(shape, self.axes).outer == 1
        return "sequence" if self.in_sequence or is_first else "fours"

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """quant.onnxruntime_sums.row_sums, divided or not."""
        rows = Rows.of(inputs[0].shape, self.axes)
        values = inputs[0].reshape(rows.outer, rows.count, rows.inner)
        sums = onnxruntime_sums.row_sums(values, self._order(inputs[0].shape))
        found = sums / np.float32(rows.count) if self.divides else sums
        return [found.reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """NCHW."""
        return plain_options("rows", node, gpu)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per row."""
        shape = node.inputs[0].shape
        rows = Rows.of(shape, self.axes)
        count = rows.outer * rows.inner
        push = {"rows": count, "count": rows.count, "inner": rows.inner}
        bindings = {"Input": input_ref(), "Output": output_ref()}
        constants = {"ORDER": ORDERS.index(self._order(shape)), "DIVIDES": int(self.divides)}
        return [Dispatch("float_mean", bindings, linear_grid(count), push, constants)]
