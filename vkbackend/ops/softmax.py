"""softmax: over the channels of every pixel, in integers."""

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
from vkbackend.quant.tflite_softmax import softmax


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
        grid = grid_of_pixels(node)
        return packed_options("workgroup_row", node, gpu, lambda read, _: 3 * read, grid=grid)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The table as it is."""
        return {"exponentials": node.constants["exponentials"]}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one workgroup per pixel."""
        batch, channels, height, width = dims_of(node.inputs[0].shape)
        push = {"batch": batch, "channels": channels, "height": height, "width": width}
        bindings = {
            "Input": input_ref(),
            "Output": output_ref(),
            "Exponentials": weights_ref("exponentials"),
        }
        return [Dispatch("softmax", bindings, grid_of_pixels(node), push, layout_constants(choice))]
