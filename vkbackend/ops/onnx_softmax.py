"""onnx_softmax: softmax over channels by the rule of ONNX Runtime's QLinearSoftmax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import dims_of
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    input_ref,
    output_ref,
    weights_ref,
)
from vkbackend.ops.packed import grid_of_pixels, layout_constants, packed_options
from vkbackend.quant import onnxruntime_sums

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
        grid = grid_of_pixels(node)
        return packed_options("workgroup_row", node, gpu, lambda read, _: 3 * read, grid=grid)

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
        bindings = {
            "Input": input_ref(),
            "Output": output_ref(),
            "Exponentials": weights_ref("exponentials"),
        }
        return [
            Dispatch("onnx_softmax", bindings, grid_of_pixels(node), push, layout_constants(choice))
        ]
