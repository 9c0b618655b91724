"""reshape: the same elements in NCHW order under another shape; free where memory is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Shape, TensorType
from vkbackend.layouts import CHANNEL_PACKED, dims_of, size_bytes
from vkbackend.ops.base import Candidate, Dispatch, Operator, Options, Work, range_problem, total
from vkbackend.ops.packed import alias_options
from vkbackend.ops.relayout import copy_dispatch


@dataclass(frozen=True)
class Reshape(Operator):
    """`shape` may hold one -1 (what is left) and 0s (as in the input), as in ONNX."""

    kind: ClassVar[str] = "reshape"
    keeps_images: ClassVar[bool] = False

    shape: tuple[int, ...]

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's type with the new shape; GraphError where the element counts differ."""
        old = inputs[0].shape
        if any(size == 0 and axis >= len(old) for axis, size in enumerate(self.shape)):
            raise GraphError(f"shape {self.shape} copies a dimension that {old} has not")
        shape = [old[axis] if size == 0 else size for axis, size in enumerate(self.shape)]
        if shape.count(-1) == 1:
            known = -total(shape)
            shape[shape.index(-1)] = total(old) // known if known else 0
        if total(shape) != total(old) or any(size < 1 for size in shape):
            raise GraphError(f"{list(old)} cannot take the shape {list(self.shape)}")
        dims_of(tuple(shape))
        return [TensorType(tuple(shape), inputs[0].quantized)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """NumPy's reshape."""
        return [inputs[0].reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """An alias where both shapes store alike, else a copy between any two packed layouts.

        Rows of a tensor in 4W, and of the same elements as (rows, columns) in 4C, are the same
        bytes: how a linear layer reads the last dimension of a larger tensor.
        """
        old, new = node.inputs[0], node.outputs[0]
        if dims_of(old.shape) == dims_of(new.shape):
            return alias_options(CHANNEL_PACKED)
        found = []
        for source in CHANNEL_PACKED:
            for target in CHANNEL_PACKED:
                read, written = size_bytes(source, old.shape), size_bytes(target, new.shape)
                if not range_problem(max(read, written), "the tensor", gpu):
                    work = Work(bytes_read=read, bytes_written=written, invocations=written // 4)
                    found.append(Candidate("copy", (source,), target, work))
        return Options((*_row_aliases(old.shape, new.shape), *found))

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """Nothing for an alias, else one dispatch."""
        if choice.alias:
            return []
        return [copy_dispatch(node.inputs[0], node.outputs[0], choice)]


def _row_aliases(old: Shape, new: Shape) -> tuple[Candidate, ...]:
    """4W of a tensor as 4C of its rows, and the other way round."""
    work = Work(dispatches=0)
    if _are_rows_of(new, old):
        return (Candidate("alias", ("4W",), "4C", work, alias=True),)
    if _are_rows_of(old, new):
        return (Candidate("alias", ("4C",), "4W", work, alias=True),)
    return ()


def _are_rows_of(rows: Shape, whole: Shape) -> bool:
    n, c, h, w = dims_of(whole)
    return rows == (n * c * h, w)
