"""mean_table: the mean of any function of int8 values; float32, or quantised after a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, Shape, TensorType
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
from vkbackend.ops.conv2d.geometry import image_of
from vkbackend.quant import executorch
from vkbackend.quant.executorch import LOW_BITS

MAX_PIXELS = (1 << 16) - 1  # sums of the parts stay within int32
MAX_VALUE = (1 << 30) - 1


@dataclass(frozen=True)
class MeanTable(Operator):
    """Sums values[x - least] over height and width: (n, c, h, w) -> (n, c, 1, 1).

    With `output`, y = least + how many steps the sum reaches. Without it y is float32, the sum
    times `scale` (quant.executorch.rounded_sum), of shape `shape` where that is given.
    Constants: values int32 [256], each at most 2^30 - 1 in size; steps int64 [255], rising. They
    hold for images of `pixels` alone. `function` names what is done, for people.
    """

    kind: ClassVar[str] = "mean_table"
    constant_roles: ClassVar[tuple[str, ...]] = ("values", "steps")

    output: Quantization | None
    pixels: int
    function: str
    scale: float = 1.0
    shape: tuple[int, ...] | None = None

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """One pixel per channel; GraphError on wrong tables or another number of pixels."""
        shape, _ = image_of(inputs[0], "the input")
        self._verify_tables(constants)
        pixels = total(shape[2:])
        if pixels != self.pixels or pixels > MAX_PIXELS:
            raise GraphError(f"made for {self.pixels} pixels ({MAX_PIXELS} at most), got {pixels}")
        made: Shape = (*shape[:2], *(1 for _ in shape[2:]))
        if self.shape is not None:
            if self.output is not None or total(self.shape) != total(made):
                raise GraphError(f"means of {inputs[0]} have no shape {list(self.shape)}")
            made = self.shape
        return [TensorType(made, self.output)]

    def _verify_tables(self, constants: Mapping[str, Array]) -> None:
        values, steps = constants["values"], constants.get("steps")
        if values.shape != (256,) or values.dtype != np.int32:
            raise GraphError(f"values is int32[256], got {values.dtype}{list(values.shape)}")
        if max(abs(int(values.min())), int(values.max())) > MAX_VALUE:
            raise GraphError("values reach beyond 2^30 - 1")
        if (steps is None) != (self.output is None):
            raise GraphError("steps belong to a quantised output, and to no other")
        if steps is None:
            return
        if steps.shape != (255,) or steps.dtype != np.int64 or (np.diff(steps) < 0).any():
            raise GraphError("steps is int64[255], rising")

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Exact sums, counted against the steps or scaled."""
        least = node.inputs[0].quantized.range[0]
        fixed = node.constants["values"].astype(np.int64)[inputs[0].astype(np.int32) - least]
        flat = fixed.reshape(*inputs[0].shape[:2], -1)
        if self.output is None:
            return [executorch.rounded_sum(flat, self.scale).reshape(node.outputs[0].shape)]
        reached = np.searchsorted(node.constants["steps"], flat.sum(axis=2), side="right")
        result = (reached + self.output.range[0]).astype(self.output.dtype)
        return [result.reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """From any channel-packed layout; to any, or to plain order."""
        read_shape, shape, grid = node.inputs[0].shape, node.outputs[0].shape, self._grid(node)
        worst = max(size_bytes(layout, read_shape) for layout in CHANNEL_PACKED)
        problem = grid_problem(grid, gpu) or range_problem(worst, "the input", gpu)
        if problem:
            return Options((), (Rejected("workgroup_sum", problem),))
        # Only NCHW order stays the same under another shape.
        plain = PLAIN if self.shape is None else ("NCHW",)
        found = []
        for source in CHANNEL_PACKED:
            for target in plain if self.output is None else CHANNEL_PACKED:
                read, written = size_bytes(source, read_shape), size_bytes(target, shape, 4)
                work = Work(0, read, written, LOCAL_SIZE * grid[0] * grid[1])
                found.append(Candidate("workgroup_sum", (source,), target, work))
        return Options(tuple(found))

    def _grid(self, node: BoundNode) -> Grid:
        batch, channels, _, _ = dims_of(node.inputs[0].shape)
        return ceil_div(channels, 4), batch, 1

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The values, and the steps as high and low parts with a last one that no sum reaches."""
        never = np.int64(1) << 62
        steps = np.append(node.constants.get("steps", np.full(255, never)), never)
        high = np.clip(steps >> LOW_BITS, -(1 << 31), (1 << 31) - 1)
        parts = np.stack([high, steps & ((1 << LOW_BITS) - 1)], axis=1)
        return {"values": node.constants["values"], "steps": parts.astype(np.int32).reshape(-1)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one workgroup per word of four channels."""
        batch, channels, height, width = dims_of(node.inputs[0].shape)
        high_scale, low_scale = executorch.part_scales(self.scale)
        push: dict[str, int | float] = {
            "batch": batch,
            "channels": channels,
            "height": height,
            "width": width,
            "high_scale": high_scale,
            "low_scale": low_scale,
        }
        constants = {
            "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
            "QUANTIZES": self.output is not None,
        }
        bindings = {"Input": input_ref(), "Output": output_ref()}
        bindings |= {"Values": weights_ref("values"), "Steps": weights_ref("steps")}
        return [Dispatch("mean_table", bindings, self._grid(node), push, constants)]
