"""What operators on float32 tensors share: plain NCHW order on both sides.

They run what stays float at the head and the tail of a quantised network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import BoundNode, Shape, TensorType
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import (
    Candidate,
    Grid,
    Options,
    Rejected,
    Work,
    ceil_div,
    grid_problem,
    range_problem,
    total,
)

MAX_GRID_COLUMNS = 65535


def float_shape(tensor: TensorType) -> Shape:
    """The tensor's shape; GraphError on a quantised one."""
    if tensor.quantization is not None:
        raise GraphError(f"takes float32, got {tensor}")
    return tensor.shape


def plain_options(
    algorithm: str, node: BoundNode, gpu: GpuInfo, *, reads: int = 1, grid: Grid = (1, 1, 1)
) -> Options:
    """The one candidate, NCHW throughout; `reads` is how often it reads its inputs."""
    sizes = [size_bytes("NCHW", tensor.shape, item_bytes=4) for tensor in node.inputs]
    written = size_bytes("NCHW", node.outputs[0].shape, item_bytes=4)
    problem = range_problem(max(*sizes, written), "the tensor", gpu) or grid_problem(grid, gpu)
    if problem:
        return Options((), (Rejected(algorithm, problem),))
    count = total(node.outputs[0].shape)
    work = Work(0, reads * sum(sizes), written, invocations=count)
    return Options((Candidate(algorithm, ("NCHW",) * len(sizes), "NCHW", work),))


def row_grid(rows: int) -> Grid:
    """One workgroup per row, folded so that every device launches it."""
    return min(rows, MAX_GRID_COLUMNS), ceil_div(rows, MAX_GRID_COLUMNS), 1


@dataclass(frozen=True)
class Rows:
    """A tensor as outer x count x inner elements: rows of `count` along one axis or several."""

    outer: int
    count: int
    inner: int

    @staticmethod
    def of(shape: Shape, axes: Sequence[int]) -> Rows:
        """Rows along neighbouring axes. Raises GraphError where they are none."""
        first, last = (min(axes), max(axes)) if axes else (0, -1)
        if not axes or first < 0 or last >= len(shape) or len(set(axes)) != last - first + 1:
            raise GraphError(f"axes {list(axes)} are no neighbouring axes of {list(shape)}")
        return Rows(total(shape[:first]), total(shape[first : last + 1]), total(shape[last + 1 :]))
