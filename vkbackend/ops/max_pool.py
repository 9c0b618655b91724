"""max_pool: the greatest value of each window; values outside the image do not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import dims_of, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    input_ref,
    linear_grid,
    output_ref,
    whole,
)
from vkbackend.ops.conv2d.geometry import Pair, image_of, output_size
from vkbackend.ops.packed import layout_constants, packed_options, window_push


@dataclass(frozen=True)
class MaxPool(Operator):
    """Pairs are (height, width), padding (top, left, bottom, right); quantisation is kept."""

    kind: ClassVar[str] = "max_pool"
    fills_slices: ClassVar[bool] = True
    reads_slices: ClassVar[bool] = True

    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """Pooled shape; GraphError where the window does not fit or can miss the image."""
        shape, quantization = image_of(inputs[0], "the input")
        if min(self.stride) < 1 or min(self.dilation) < 1 or min(self.kernel) < 1:
            raise GraphError("kernel, stride and dilation are at least 1")
        batch, channels, height, width = dims_of(shape)
        for axis, length in ((0, height), (1, width)):
            reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
            before, after = self.padding[axis], self.padding[axis + 2]
            if before < 0 or after < 0 or max(before, after) >= reach:
                raise GraphError(f"padding {self.padding} leaves windows without any input")
            if self.dilation[axis] > 1 and before + after > 0 and length < reach:
                raise GraphError(f"windows of {reach} over {length} can miss every input")
        size = output_size((height, width), self.kernel, self.stride, self.padding, self.dilation)
        out = (batch, channels, *(size if len(shape) == 4 else size[1:]))
        return [TensorType(out, quantization)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """The maximum over shifted views."""
        low = node.inputs[0].quantized.range[0]
        top, left, bottom, right = self.padding
        image = inputs[0].reshape(dims_of(inputs[0].shape))
        padding = ((0, 0), (0, 0), (top, bottom), (left, right))
        image = np.pad(image, padding, constant_values=low)
        _, _, rows, columns = dims_of(node.outputs[0].shape)
        result = None
        for tap_h in range(self.kernel[0]):
            for tap_w in range(self.kernel[1]):
                h, w = tap_h * self.dilation[0], tap_w * self.dilation[1]
                view = image[:, :, h:, w:][:, :, :: self.stride[0], :: self.stride[1]]
                view = view[:, :, :rows, :columns]
                result = view if result is None else np.maximum(result, view)
        assert result is not None
        return [np.ascontiguousarray(result).reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Any channel-packed layouts."""
        taps = self.kernel[0] * self.kernel[1]
        return packed_options("window", node, gpu, lambda _, written: written * taps)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per output word."""
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        push = {
            **window_push(node, self.kernel, self.stride, self.padding),
            "dilation_height": self.dilation[0],
            "dilation_width": self.dilation[1],
            **whole(dims_of(node.inputs[0].shape)[1]).read_push,
        }
        bindings = {"Input": input_ref(), "Output": output_ref()}
        return [Dispatch("max_pool", bindings, linear_grid(words), push, layout_constants(choice))]
