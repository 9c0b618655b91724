"""softmax_float: over the channels of every pixel, in float32; float32 or quantised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import CHANNEL_PACKED, PLAIN, dims_of
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    input_ref,
    output_ref,
    total,
    weights_ref,
)
from vkbackend.ops.packed import grid_of_pixels, layout_constants, packed_options
from vkbackend.quant import affine, executorch

MAX_CHANNELS = (1 << 16) - 1  # sums of parts of 15 bits stay within int32


@dataclass(frozen=True)
class SoftmaxFloat(Operator):
    """fl(e / sum(e)) over channels, e = exp(x - greatest) by a table (quant.executorch.softmax).

    Constant: exponentials float32 [256], by how far a value lies below the greatest of its pixel.
    With `output` the result is quantised, rint(fl(y * fl(1 / scale))); without it is float32, of
    the input's shape or of `shape`, which has as many elements.
    """

    kind: ClassVar[str] = "softmax_float"
    constant_roles: ClassVar[tuple[str, ...]] = ("exponentials",)

    output: Quantization | None = None
    shape: tuple[int, ...] | None = None

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's shape; GraphError on a wrong table or too many channels."""
        _ = inputs[0].quantized
        table = constants["exponentials"]
        if table.shape != (256,) or table.dtype != np.float32:
            raise GraphError(f"exponentials is float32[256], got {table.dtype}{list(table.shape)}")
        if not ((table >= 0) & (table <= 1)).all() or table[0] != 1:
            raise GraphError("exponentials lie within 0 and 1, the first is 1")
        if dims_of(inputs[0].shape)[1] > MAX_CHANNELS:
            raise GraphError(f"takes {MAX_CHANNELS} channels at most, got {inputs[0]}")
        if self.shape is None:
            return [TensorType(inputs[0].shape, self.output)]
        if self.output is not None or total(self.shape) != total(inputs[0].shape):
            raise GraphError(f"{inputs[0]} cannot be made float32 of shape {list(self.shape)}")
        return [TensorType(self.shape)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """quant.executorch.softmax."""
        pixels = np.moveaxis(inputs[0].reshape(dims_of(inputs[0].shape)), 1, -1)
        real = executorch.softmax(pixels, node.constants["exponentials"])
        result = np.ascontiguousarray(np.moveaxis(real, -1, 1)).reshape(node.outputs[0].shape)
        if self.output is None:
            return [result]
        return [affine.quantize(result, self.output, reciprocal=True)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """From any channel-packed layout; to any, or to either plain order."""
        # Only NCHW order stays the same under another shape.
        plain = PLAIN if self.shape is None else ("NCHW",)
        return packed_options(
            "workgroup_row",
            node,
            gpu,
            lambda read, _: 3 * read,
            grid=grid_of_pixels(node),
            # About 100 operations of a division per element.
            macs=100 * total(node.inputs[0].shape),
            targets=plain if self.output is None else CHANNEL_PACKED,
        )

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """Pairs of an exponential's bits and its fixed-point form; thresholds of the output."""
        table = node.constants["exponentials"]
        pairs = np.stack([table.view(np.int32), executorch.fixed_exponentials(table)], axis=1)
        steps = np.full(256, np.inf, np.float32)
        if self.output is not None:
            steps[:255] = affine.thresholds(self.output, reciprocal=True)
        return {"exponentials": pairs.reshape(-1), "thresholds": steps}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one workgroup per pixel."""
        batch, channels, height, width = dims_of(node.inputs[0].shape)
        push = {"batch": batch, "channels": channels, "height": height, "width": width}
        constants = {
            **layout_constants(choice),
            "QUANTIZES": self.output is not None,
        }
        bindings = {
            "Input": input_ref(),
            "Output": output_ref(),
            "Exponentials": weights_ref("exponentials"),
            "Thresholds": weights_ref("thresholds"),
        }
        return [Dispatch("softmax_float", bindings, grid_of_pixels(node), push, constants)]
