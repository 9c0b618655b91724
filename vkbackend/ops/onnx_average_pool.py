"""onnx_average_pool: the mean of each window by ONNX Runtime's rule, summed in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

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
from vkbackend.ops.conv2d.geometry import Pair, image_of, output_size
from vkbackend.ops.packed import grid_of_outputs, layout_constants, packed_options, window_push
from vkbackend.quant import onnxruntime_sums
from vkbackend.quant.affine import dequantize
from vkbackend.quant.steps import Float32, steps

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OnnxAveragePool(Operator):
    """quant.onnxruntime_sums.mean_of_sum of the float32 sum of dequantised values, in window order.

    Pairs are (height, width), padding (top, left, bottom, right), clamp in y's values. Where
    `counts_padding`, every window counts all its taps; those outside the image add nothing.
    """

    kind: ClassVar[str] = "onnx_average_pool"
    fills_slices: ClassVar[bool] = True

    output: Quantization
    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    counts_padding: bool = False
    clamp: Pair | None = None

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """Pooled shape; GraphError where the window does not fit or misses the image."""
        shape, _ = image_of(inputs[0], "the input")
        if min(*self.stride, *self.dilation, *self.kernel) < 1 or min(self.padding) < 0:
            raise GraphError("kernel, stride and dilation are at least 1, padding at least 0")
        low, high = self.output.range
        if self.clamp and not low <= self.clamp[0] <= self.clamp[1] <= high:
            raise GraphError(f"clamp {self.clamp} is outside {self.output.dtype} {low}..{high}")
        batch, channels, height, width = dims_of(shape)
        size = output_size((height, width), self.kernel, self.stride, self.padding, self.dilation)
        if min(self._counts(0, height, size[0]).min(), self._counts(1, width, size[1]).min()) < 1:
            raise GraphError(f"padding {self.padding} leaves windows without any input")
        out = (batch, channels, *(size if len(shape) == 4 else size[1:]))
        return [TensorType(out, self.output)]

    def _counts(self, axis: int, in_size: int, out_size: int) -> Int:
        """Taps within the image along one axis, for every output position."""
        taps = np.arange(self.kernel[axis]) * self.dilation[axis] - self.padding[axis]
        places = np.arange(out_size)[:, None] * self.stride[axis] + taps
        return np.asarray(((places >= 0) & (places < in_size)).sum(axis=1))

    def _window_counts(self, node: BoundNode) -> Int:
        """What each window's sum is divided by, [out height, out width]."""
        _, _, height, width = dims_of(node.inputs[0].shape)
        _, _, rows, columns = dims_of(node.outputs[0].shape)
        if self.counts_padding:
            return np.full((rows, columns), self.kernel[0] * self.kernel[1])
        return np.outer(self._counts(0, height, rows), self._counts(1, width, columns))

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """One addition per tap, over shifted views."""
        top, left, bottom, right = self.padding
        image = dequantize(inputs[0], node.inputs[0].quantized).reshape(dims_of(inputs[0].shape))
        image = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
        _, _, rows, columns = dims_of(node.outputs[0].shape)
        total = np.zeros((*image.shape[:2], rows, columns), np.float32)
        for tap_h in range(self.kernel[0]):
            for tap_w in range(self.kernel[1]):
                h, w = tap_h * self.dilation[0], tap_w * self.dilation[1]
                view = image[:, :, h:, w:][:, :, :: self.stride[0], :: self.stride[1]]
                total += view[:, :, :rows, :columns]
        mean = onnxruntime_sums.mean_of_sum(total, self._window_counts(node), self.output)
        return [np.clip(mean, *(self.clamp or self.output.range)).reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Any channel-packed layouts."""
        taps, grid = self.kernel[0] * self.kernel[1], grid_of_outputs(node)
        return packed_options("window", node, gpu, lambda read, _: read * taps, grid=grid)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """A row of 256 thresholds of the sum per number that sums are divided by."""
        low, high = self.output.range
        least, greatest = self.clamp or (low, high)
        rows = {int(count): row for row, count in enumerate(np.unique(self._window_counts(node)))}
        thresholds = np.full((len(rows), 256), np.inf, np.float32)
        for count, row in rows.items():

            def rule(sums: Float32, count: int = count) -> Array:
                mean = onnxruntime_sums.mean_of_sum(sums, np.int64(count), self.output)
                return np.clip(mean, least, greatest)

            thresholds[row, :255] = steps(rule, low, high)
        taps = self.kernel[0] * self.kernel[1]
        row_of_count = [
            rows[taps] if self.counts_padding else rows.get(n, 0) for n in range(taps + 1)
        ]
        return {"thresholds": thresholds.reshape(-1), "rows": np.array(row_of_count, np.int32)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per output word."""
        x = node.inputs[0].quantized
        push: dict[str, int | float] = {
            **window_push(node, self.kernel, self.stride, self.padding),
            "dilation_height": self.dilation[0],
            "dilation_width": self.dilation[1],
            "input_zero_point": x.stored_zero_point,
            "input_scale": x.scale,
        }
        bindings = {
            "Input": input_ref(),
            "Output": output_ref(),
            "Thresholds": weights_ref("thresholds"),
            "Rows": weights_ref("rows"),
        }
        return [
            Dispatch(
                "onnx_average_pool", bindings, grid_of_outputs(node), push, layout_constants(choice)
            )
        ]
