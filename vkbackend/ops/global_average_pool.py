"""global_average_pool: the mean over height and width, requantised."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, Shape, TensorType
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
    total,
    weights_ref,
)
from vkbackend.ops.conv2d.geometry import image_of
from vkbackend.quant import requantize as modes

TOGETHER = "workgroup_sum"
ALONE = "lane_sum"


@dataclass(frozen=True)
class GlobalAveragePool(Operator):
    """y = rint(fl(float32(sum(x - x_zp)) * m)) + y_zp, m = fl(x_scale / fl(y_scale * h * w)).

    The rule of ONNX Runtime's QLinearGlobalAveragePool; (n, c, h, w) -> (n, c, 1, 1).
    """

    kind: ClassVar[str] = "global_average_pool"

    output: Quantization
    requantize: str = "float"

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """One pixel per channel."""
        shape, x = image_of(inputs[0], "the input")
        self._parameters(x, shape)
        return [TensorType((*shape[:2], *(1 for _ in shape[2:])), self.output)]

    def _parameters(self, x: Quantization, shape: Shape) -> Array:
        pixels = np.float32(np.prod(shape[2:]))
        divisor = np.float32(self.output.scale) * pixels
        one = np.ones(1, np.float32)
        return modes.mode(self.requantize).parameters(x.scale, one, float(divisor))

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Exact integer sums, then one rounding."""
        shape, x = node.inputs[0].shape, node.inputs[0].quantized
        flat = inputs[0].reshape(shape[0], shape[1], -1).astype(np.int64) - x.zero_point
        sums = flat.sum(axis=2).astype(np.int32)[..., None]
        result = modes.requantize(
            sums, self._parameters(x, shape), self.output, None, self.requantize
        )
        return [result.reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Any channel-packed layouts; a word of channels by a workgroup or by one invocation."""
        read_shape, shape = node.inputs[0].shape, node.outputs[0].shape
        worst = max(size_bytes(layout, read_shape) for layout in CHANNEL_PACKED)
        sums = total(read_shape)
        found: list[Candidate] = []
        rejected: list[Rejected] = []
        for algorithm in (TOGETHER, ALONE):
            grid = self._grid(node, algorithm)
            problem = grid_problem(grid, gpu) or range_problem(worst, "the input", gpu)
            if problem:
                rejected.append(Rejected(algorithm, problem))
                continue
            for source, target in itertools.product(CHANNEL_PACKED, CHANNEL_PACKED):
                read, written = size_bytes(source, read_shape), size_bytes(target, shape)
                work = Work(sums, read, written, LOCAL_SIZE * grid[0] * grid[1])
                found.append(Candidate(algorithm, (source,), target, work))
        return Options(tuple(found), tuple(rejected))

    def _grid(self, node: BoundNode, algorithm: str) -> Grid:
        batch, channels, _, _ = dims_of(node.inputs[0].shape)
        words = ceil_div(channels, 4)
        return ceil_div(words, LOCAL_SIZE) if algorithm == ALONE else words, batch, 1

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """One channel's parameters, the same for all: folded zero point, multiplier."""
        x, shape = node.inputs[0].quantized, node.inputs[0].shape
        bias = -x.stored_zero_point * int(np.prod(shape[2:]))
        words = modes.channel_words(np.array([bias]), self._parameters(x, shape))
        return {"channel": words.reshape(-1)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one workgroup or one invocation per word of four channels."""
        batch, channels, height, width = dims_of(node.inputs[0].shape)
        low, high = self.output.range
        push = {
            "batch": batch,
            "channels": channels,
            "height": height,
            "width": width,
            "output_zero_point": self.output.stored_zero_point,
            "clamp_low": low + self.output.storage_offset,
            "clamp_high": high + self.output.storage_offset,
        }
        constants = {
            "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
            "REQUANTIZE": modes.mode(self.requantize).CODE,
            "ALONE": choice.algorithm == ALONE,
        }
        bindings = {"Input": input_ref(), "Output": output_ref(), "Channel": weights_ref("channel")}
        grid = self._grid(node, choice.algorithm)
        return [Dispatch("global_average_pool", bindings, grid, push, constants)]
