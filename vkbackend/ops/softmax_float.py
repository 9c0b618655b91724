"""softmax_float: over the channels of every pixel, in float32; float32 or quantised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import CHANNEL_PACKED, LAYOUTS, PLAIN, dims_of, size_bytes
from vkbackend.ops.base import (
    LOCAL_SIZE,
    Candidate,
    Dispatch,
    Grid,
    Operator,
    Options,
    Rejected,
    Work,
    ceil_div,
    grid_problem,
    input_ref,
    output_ref,
    range_problem,
    total,
    weights_ref,
)
from vkbackend.quant import affine, executorch

MAX_GRID_COLUMNS = 32768
MAX_CHANNELS = (1 << 16) - 1  # sums of parts of 15 bits stay within int32


@dataclass(frozen=True)
class SoftmaxFloat(Operator):
    """fl(e / sum(e)) over channels, e = exp(x - greatest) by a table (quant.executorch.softmax).

    Constant: exponentials float32 [256], by how far a value lies below the greatest of its pixel.
    With `output` the result is quantised, rint(fl(y * fl(1 / scale))); without it is float32, of
    the input's shape or of `shape`, which has as many elements.
    """

    kind: ClassVar[str] = "softmax_float"
    constant_roles: ClassVar[tuple[str, ...]] = ("exponentials",)

    output: Quantization | None = None
    shape: tuple[int, ...] | None = None

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's shape; GraphError on a wrong table or too many channels."""
        _ = inputs[0].quantized
        table = constants["exponentials"]
        if table.shape != (256,) or table.dtype != np.float32:
            raise GraphError(f"exponentials is float32[256], got {table.dtype}{list(table.shape)}")
        if not ((table >= 0) & (table <= 1)).all() or table[0] != 1:
            raise GraphError("exponentials lie within 0 and 1, the first is 1")
        if dims_of(inputs[0].shape)[1] > MAX_CHANNELS:
            raise GraphError(f"takes {MAX_CHANNELS} channels at most, got {inputs[0]}")
        if self.shape is None:
            return [TensorType(inputs[0].shape, self.output)]
        if self.output is not None or total(self.shape) != total(inputs[0].shape):
            raise GraphError(f"{inputs[0]} cannot be made float32 of shape {list(self.shape)}")
        return [TensorType(self.shape)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """quant.executorch.softmax."""
        pixels = np.moveaxis(inputs[0].reshape(dims_of(inputs[0].shape)), 1, -1)
        real = executorch.softmax(pixels, node.constants["exponentials"])
        result = np.ascontiguousarray(np.moveaxis(real, -1, 1)).reshape(node.outputs[0].shape)
        if self.output is None:
            return [result]
        return [affine.quantize(result, self.output, reciprocal=True)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """From any channel-packed layout; to any, or to either plain order."""
        shape, grid = node.inputs[0].shape, self._grid(node)
        # Only NCHW order stays the same under another shape.
        plain = PLAIN if self.shape is None else ("NCHW",)
        targets = plain if self.output is None else CHANNEL_PACKED
        found, problems = [], []
        for source in CHANNEL_PACKED:
            for target in targets:
                item_bytes = 4 if self.output is None else 1
                read, written = size_bytes(source, shape), size_bytes(target, shape, item_bytes)
                problem = range_problem(max(read, written), "the tensor", gpu)
                problem = problem or grid_problem(grid, gpu)
                if problem:
                    problems.append(Rejected("workgroup_row", problem))
                    continue
                # About 100 operations of a division per element, as many as bytes read.
                work = Work(100 * total(shape), 3 * read, written, LOCAL_SIZE * grid[0] * grid[1])
                found.append(Candidate("workgroup_row", (source,), target, work))
        return Options(tuple(found), () if found else tuple(problems[:1]))

    def _grid(self, node: BoundNode) -> Grid:
        """One workgroup per pixel, in rows that every device launches."""
        batch, _, height, width = dims_of(node.inputs[0].shape)
        pixels = batch * height * width
        return min(pixels, MAX_GRID_COLUMNS), ceil_div(pixels, MAX_GRID_COLUMNS), 1

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """Pairs of an exponential's bits and its fixed-point form; thresholds of the output."""
        table = node.constants["exponentials"]
        pairs = np.stack([table.view(np.int32), executorch.fixed_exponentials(table)], axis=1)
        steps = np.full(256, np.inf, np.float32)
        if self.output is not None:
            steps[:255] = affine.thresholds(self.output, reciprocal=True)
        return {"exponentials": pairs.reshape(-1), "thresholds": steps}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one workgroup per pixel."""
        batch, channels, height, width = dims_of(node.inputs[0].shape)
        push = {"batch": batch, "channels": channels, "height": height, "width": width}
        constants = {
            "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
            "QUANTIZES": self.output is not None,
        }
        bindings = {
            "Input": input_ref(),
            "Output": output_ref(),
            "Exponentials": weights_ref("exponentials"),
            "Thresholds": weights_ref("thresholds"),
        }
        return [Dispatch("softmax_float", bindings, self._grid(node), push, constants)]
