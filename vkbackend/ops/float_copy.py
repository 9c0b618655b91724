"""Moving float32 elements in plain NCHW order: for float tensors what StridedCopy is for int8."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode
from vkbackend.layouts import dims_of, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Options,
    Rejected,
    Work,
    input_ref,
    linear_grid,
    output_ref,
    range_problem,
    total,
    weights_ref,
)
from vkbackend.ops.strided_copy import Part


@dataclass(frozen=True)
class FloatCopy:
    """Input i fills the box of parts[i], digits counted in NCHW order; `fill` stands elsewhere.

    No operator: operators that move elements (copying.py) are lowered to it.
    """

    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    fill: float | None = None

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """NCHW on both sides."""
        sizes = [size_bytes("NCHW", tensor.shape, item_bytes=4) for tensor in node.inputs]
        written = size_bytes("NCHW", self.shape, item_bytes=4)
        problem = range_problem(max(*sizes, written), "the tensor", gpu)
        if problem:
            return Options((), (Rejected("elements", problem),))
        work = Work(0, written, written, total(self.shape), dispatches=len(self.parts))
        return Options((Candidate("elements", ("NCHW",) * len(sizes), "NCHW", work),))

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """Each part's digits, innermost first, as pairs (extent, stride)."""
        return {
            f"digits{index}": np.array(part.merged()[::-1], np.int32).reshape(-1)
            for index, part in enumerate(self.parts)
        }

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch per part, one invocation per output element that the part touches."""
        return [self._dispatch(index) for index in range(len(self.parts))]

    def _dispatch(self, index: int) -> Dispatch:
        part, dims = self.parts[index], dims_of(self.shape)
        covers_all = index == 0 and self.fill is not None
        begin, end = ((0, 0, 0, 0), dims) if covers_all else part.clipped(dims)
        span = [b - a for a, b in zip(begin, end, strict=True)]
        push: dict[str, int | float] = {
            **{f"to_{axis}": size for axis, size in zip("chw", dims[1:], strict=True)},
            **{f"begin_{axis}": at for axis, at in zip("nchw", part.begin, strict=True)},
            **{f"size_{axis}": size for axis, size in zip("nchw", part.size, strict=True)},
            **{f"first_{axis}": at for axis, at in zip("nchw", begin, strict=True)},
            **{f"span_{axis}": size for axis, size in zip("chw", span[1:], strict=True)},
            "offset": part.offset,
            "digit_count": len(part.merged()),
            "fill": self.fill or 0.0,
            "element_count": math.prod(span),
        }
        bindings = {
            "Input": input_ref(index),
            "Output": output_ref(),
            "Digits": weights_ref(f"digits{index}"),
        }
        grid = linear_grid(math.prod(span))
        return Dispatch("float_copy", bindings, grid, push, {"FILLS": covers_all})
