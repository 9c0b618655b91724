"""constant: a tensor whose values stand in the file, for operators of two tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import PACKED, pack, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    Rejected,
    Work,
    linear_grid,
    output_ref,
    range_problem,
    weights_ref,
)
from vkbackend.quant.affine import every_value


@dataclass(frozen=True)
class Constant(Operator):
    """No inputs; constant `values`, of the output's type, in NCHW order."""

    kind: ClassVar[str] = "constant"
    constant_roles: ClassVar[tuple[str, ...]] = ("values",)
    keeps_images: ClassVar[bool] = False

    output: Quantization

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The values' shape with this quantisation; GraphError on values of another type."""
        values = constants["values"]
        if inputs or values.dtype != self.output.dtype or values.ndim > 4:
            raise GraphError(f"takes no inputs and {self.output.dtype} values of rank 4 at most")
        return [TensorType(values.shape, self.output)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """The values."""
        return [node.constants["values"]]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """In any packed layout."""
        found, problems = [], []
        for layout in PACKED:
            size = size_bytes(layout, node.outputs[0].shape)
            problem = range_problem(size, "the tensor", gpu)
            if problem:
                problems.append(Rejected("copy", problem))
                continue
            work = Work(bytes_read=size, bytes_written=size, invocations=size // 4)
            found.append(Candidate("copy", (), layout, work))
        return Options(tuple(found), () if found else tuple(problems[:1]))

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The values as the layout stores them, and the table that keeps every value."""
        stored = node.constants["values"].astype(np.int32) + self.output.storage_offset
        packed = pack(stored.astype(np.int8), choice.output_layout)
        whole = np.zeros(size_bytes(choice.output_layout, node.outputs[0].shape), np.int8)
        whole[: packed.size] = packed
        identity = every_value(Quantization(1.0, 0))
        return {"values": whole.view(np.int32), "table": identity.view(np.int32)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch: what is not changed by a look-up is copied."""
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        bindings = {
            "Input": weights_ref("values"),
            "Output": output_ref(),
            "Table": weights_ref("table"),
        }
        return [Dispatch("lookup", bindings, linear_grid(words), {"word_count": words})]
