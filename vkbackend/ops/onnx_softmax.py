"""onnx_softmax: softmax over channels by the rule of ONNX Runtime's QLinearSoftmax."""

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
from vkbackend.quant import onnxruntime_sums

MAX_GRID_COLUMNS = 65535
MOST_STEPS = 1 << 20  # products of them and of sums then fit 64 bits


@dataclass(frozen=True)
class OnnxSoftmax(Operator):
    """quant.onnxruntime.softmax over the channels of each pixel of (n, c, ...)."""

    kind: ClassVar[str] = "onnx_softmax"

    output: Quantization

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's shape with this quantisation; GraphError on a scale of next to nothing."""
        _ = inputs[0].quantized
        if onnxruntime_sums.softmax_steps(self.output) > MOST_STEPS:
            raise GraphError(f"an output scale of at least {1 / MOST_STEPS:g} is supported")
        return [TensorType(inputs[0].shape, self.output)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """quant.onnxruntime.softmax with channels last."""
        pixels = np.moveaxis(inputs[0].reshape(dims_of(inputs[0].shape)), 1, -1)
        result = onnxruntime_sums.softmax(pixels, node.inputs[0].quantized, self.output)
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
        """Exponentials by distance from the greatest value."""
        channels = dims_of(node.inputs[0].shape)[1]
        table = onnxruntime_sums.exponentials(node.inputs[0].quantized, channels)
        return {"exponentials": table}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one workgroup per pixel."""
        batch, channels, height, width = dims_of(node.inputs[0].shape)
        push = {
            "batch": batch,
            "channels": channels,
            "height": height,
            "width": width,
            "steps": onnxruntime_sums.softmax_steps(self.output),
            "output_zero_point": self.output.stored_zero_point,
        }
        constants = {
            "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
        }
        bindings = {
            "Input": input_ref(),
            "Output": output_ref(),
            "Exponentials": weights_ref("exponentials"),
        }
        return [Dispatch("onnx_softmax", bindings, self._grid(node), push, constants)]
