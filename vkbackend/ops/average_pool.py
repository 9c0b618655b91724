"""average_pool: the mean of each window; values outside the image do not count."""

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
)
from vkbackend.ops.conv2d.geometry import Pair, image_of, output_size
from vkbackend.ops.packed import grid_of_outputs, layout_constants, packed_options, window_push

RULES = ("integer",)


@dataclass(frozen=True)
class AveragePool(Operator):
    """Rule `integer`, TensorFlow Lite's: the mean of the integers, halves away from zero, clamped.

    Scale and zero point do not enter (integer_ops/pooling.h): x and y have one quantisation.
    Pairs are (height, width), padding (top, left, bottom, right); clamp is in y's values.
    """

    kind: ClassVar[str] = "average_pool"
    fills_slices: ClassVar[bool] = True

    output: Quantization
    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    clamp: Pair | None = None
    rule: str = "integer"

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """Pooled shape; GraphError where the window does not fit or can miss the image."""
        shape, quantization = image_of(inputs[0], "the input")
        self._verify(quantization)
        batch, channels, height, width = dims_of(shape)
        size = output_size((height, width), self.kernel, self.stride, self.padding, (1, 1))
        out = (batch, channels, *(size if len(shape) == 4 else size[1:]))
        return [TensorType(out, self.output)]

    def _verify(self, x: Quantization) -> None:
        if self.rule not in RULES:
            raise GraphError(f"rule is one of {', '.join(RULES)}, got {self.rule!r}")
        if x.dtype != self.output.dtype:
            raise GraphError(f"x is {x.dtype}, y {self.output.dtype}: the rule is of integers")
        if min(self.stride) < 1 or min(self.kernel) < 1:
            raise GraphError("kernel and stride are at least 1")
        if min(self.padding) < 0 or any(
            pad >= self.kernel[side % 2] for side, pad in enumerate(self.padding)
        ):
            raise GraphError(f"padding {self.padding} leaves windows without any input")
        low, high = self.output.range
        if self.clamp and not low <= self.clamp[0] <= self.clamp[1] <= high:
            raise GraphError(f"clamp {self.clamp} is outside {self.output.dtype} {low}..{high}")

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Sums and counts over shifted views."""
        image = inputs[0].reshape(dims_of(inputs[0].shape)).astype(np.int64)
        total = self._sum_windows(node, image)
        count = self._sum_windows(node, np.ones((1, 1, *image.shape[2:]), np.int64))
        mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
        low, high = self.clamp or self.output.range
        result = np.clip(mean, low, high).astype(self.output.dtype)
        return [result.reshape(node.outputs[0].shape)]

    def _sum_windows(self, node: BoundNode, image: Array) -> Array:
        top, left, bottom, right = self.padding
        padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
        _, _, rows, columns = dims_of(node.outputs[0].shape)
        total = np.zeros((*image.shape[:2], rows, columns), np.int64)
        for h in range(self.kernel[0]):
            for w in range(self.kernel[1]):
                view = padded[:, :, h:, w:][:, :, :: self.stride[0], :: self.stride[1]]
                total += view[:, :, :rows, :columns]
        return total

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Any channel-packed layouts."""
        taps, grid = self.kernel[0] * self.kernel[1], grid_of_outputs(node)
        return packed_options("window", node, gpu, lambda read, _: read * taps, grid=grid)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per output word."""
        low, high = self.clamp or self.output.range
        push = {
            **window_push(node, self.kernel, self.stride, self.padding),
            "storage_offset": self.output.storage_offset,
            "clamp_low": low,
            "clamp_high": high,
        }
        bindings = {"Input": input_ref(), "Output": output_ref()}
        return [
            Dispatch(
                "average_pool", bindings, grid_of_outputs(node), push, layout_constants(choice)
            )
        ]
