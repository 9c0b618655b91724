"""softmax: over the channels of every pixel, in integers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import CHANNEL_PACKED, LAYOUTS, dims_of, size_bytes
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
    weights_ref,
)
from vkbackend.quant.tflite_softmax import softmax

MAX_GRID_COLUMNS = 32768


@dataclass(frozen=True)
class Softmax(Operator):
    """TensorFlow Lite's integer softmax (quant.tflite_softmax); (n, c, ...) over c.

    Constant: exponentials int32 [256], exp(-d * scale) * 2^31 by difference d from the greatest
    value of the pixel. The least value of the output's type stands for 0, each step for 1 / 256.
    """

    kind: ClassVar[str] = "softmax"
    constant_roles: ClassVar[tuple[str, ...]] = ("exponentials",)

    output: Quantization

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's shape with this quantisation; GraphError on a wrong table."""
        _ = inputs[0].quantized
        table = constants["exponentials"]
        if table.shape != (256,) or table.dtype != np.int32 or table.min() < 0 or table[0] < 1:
            raise GraphError("exponentials is int32[256], none negative, the first positive")
        return [TensorType(inputs[0].shape, self.output)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """quant.tflite_softmax.softmax."""
        pixels = np.moveaxis(inputs[0].reshape(dims_of(inputs[0].shape)), 1, -1)
        result = softmax(pixels, node.constants["exponentials"], self.output)
        moved = np.ascontiguousarray(np.moveaxis(result, -1, 1))
        return [moved.reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Any channel-packed layouts."""
        shape, grid = node.inputs[0].shape, self._grid(node)
        worst = max(size_bytes(layout, shape) for layout in CHANNEL_PACKED)
        problem = grid_problem(grid, gpu) or range_problem(worst, "the tensor", gpu)
        if problem:
            return Options((), (Rejected("workgroup_row", problem),))
        invocations = LOCAL_SIZE * grid[0] * grid[1]
        found = []
        for source in CHANNEL_PACKED:
            for target in CHANNEL_PACKED:
                read, written = size_bytes(source, shape), size_bytes(target, shape)
                work = Work(0, 3 * read, written, invocations)
                found.append(Candidate("workgroup_row", (source,), target, work))
        return Options(tuple(found))

    def _grid(self, node: BoundNode) -> Grid:
        """One workgroup per pixel, in rows that every device launches."""
        batch, _, height, width = dims_of(node.inputs[0].shape)
        pixels = batch * height * width
        return min(pixels, MAX_GRID_COLUMNS), ceil_div(pixels, MAX_GRID_COLUMNS), 1

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The table as it is."""
        return {"exponentials": node.constants["exponentials"]}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one workgroup per pixel."""
        batch, channels, height, width = dims_of(node.inputs[0].shape)
        push = {"batch": batch, "channels": channels, "height": height, "width": width}
        constants = {
            "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
        }
        bindings = {
            "Input": input_ref(),
            "Output": output_ref(),
            "Exponentials": weights_ref("exponentials"),
        }
        return [Dispatch("softmax", bindings, self._grid(node), push, constants)]
