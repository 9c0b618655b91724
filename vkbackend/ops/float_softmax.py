"""float_softmax: softmax of float32 values along one axis or neighbouring ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.ops.base import Candidate, Dispatch, Operator, Options, input_ref, output_ref
from vkbackend.ops.float_plain import Rows, float_shape, plain_options, row_grid


@dataclass(frozen=True)
class FloatSoftmax(Operator):
    """y = exp(x - max) / sum, as good as the device's exp and division."""

    kind: ClassVar[str] = "float_softmax"

    axes: tuple[int, ...]

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's type; GraphError on axes that it has not."""
        shape = float_shape(inputs[0])
        Rows.of(shape, self.axes)
        return [TensorType(shape)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """In float32."""
        x = inputs[0]
        powers = np.exp(x - x.max(axis=self.axes, keepdims=True))
        return [np.asarray(powers / powers.sum(axis=self.axes, keepdims=True), np.float32)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """NCHW."""
        rows = Rows.of(node.inputs[0].shape, self.axes)
        grid = row_grid(rows.outer * rows.inner)
        return plain_options("workgroup_row", node, gpu, reads=3, grid=grid)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one workgroup per row."""
        rows = Rows.of(node.inputs[0].shape, self.axes)
        count = rows.outer * rows.inner
        push = {"rows": count, "count": rows.count, "inner": rows.inner}
        bindings = {"Input": input_ref(), "Output": output_ref()}
        return [Dispatch("float_softmax", bindings, row_grid(count), push)]
