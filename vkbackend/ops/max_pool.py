"""max_pool: the greatest value of each window; values outside the image do not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import CHANNEL_PACKED, LAYOUTS, dims_of, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    Rejected,
    Work,
    input_ref,
    linear_grid,
    output_ref,
    range_problem,
)
from vkbackend.ops.conv2d.geometry import Pair, image_of, output_size


@dataclass(frozen=True)
class MaxPool(Operator):
    """Pairs are (height, width), padding (top, left, bottom, right); quantisation is kept."""

    kind: ClassVar[str] = "max_pool"

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
        read_shape, shape = node.inputs[0].shape, node.outputs[0].shape
        found, rejected = [], []
        for source in CHANNEL_PACKED:
            for target in CHANNEL_PACKED:
                read, written = size_bytes(source, read_shape), size_bytes(target, shape)
                problem = range_problem(max(read, written), "the tensor", gpu)
                if problem:
                    rejected.append(Rejected("window", problem))
                    continue
                taps = self.kernel[0] * self.kernel[1]
                work = Work(0, read * taps, written, invocations=written // 4)
                found.append(Candidate("window", (source,), target, work))
        return Options(tuple(found), tuple(rejected[:1]) if not found else ())

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per output word."""
        batch, channels, in_height, in_width = dims_of(node.inputs[0].shape)
        _, _, out_height, out_width = dims_of(node.outputs[0].shape)
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        push = {
            "batch": batch,
            "channels": channels,
            "in_height": in_height,
            "in_width": in_width,
            "out_height": out_height,
            "out_width": out_width,
            "kernel_height": self.kernel[0],
            "kernel_width": self.kernel[1],
            "stride_height": self.stride[0],
            "stride_width": self.stride[1],
            "padding_top": self.padding[0],
            "padding_left": self.padding[1],
            "dilation_height": self.dilation[0],
            "dilation_width": self.dilation[1],
        }
        constants = {
            "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
        }
        bindings = {"Input": input_ref(), "Output": output_ref()}
        return [Dispatch("max_pool", bindings, linear_grid(words), push, constants)]
