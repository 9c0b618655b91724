"""onnx_resize: nearest and bilinear resizing by ONNX's rules, for inputs of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    input_ref,
    linear_grid,
    output_ref,
    weights_ref,
)
from vkbackend.ops.conv2d.geometry import Pair, image_of
from vkbackend.ops.packed import layout_constants, packed_options, sizes_push
from vkbackend.ops.resize import ONE, Resize
from vkbackend.quant import affine, onnxruntime_resize
from vkbackend.quant.onnxruntime_resize import COORDINATES, NEAREST
from vkbackend.quant.steps import Float32, steps

Int32 = onnxruntime_resize.Int32


@dataclass(frozen=True)
class OnnxResize(Operator):
    """Resizes height and width by `scales`, or to `sizes` where they are given.

    `coordinate` names the rule of quant.onnxruntime_resize. With `rounding`, one of its rules for
    the nearest position, values and quantisation are kept; with None the mode is linear, and
    `output` is the quantisation of the result. Without it the whole numbers are resized, fractions
    cut off: what ONNX Runtime does with tensors of 8 bits that are not dequantised.
    """

    kind: ClassVar[str] = "onnx_resize"
    fills_slices: ClassVar[bool] = True

    coordinate: str
    scales: tuple[float, float] = (1.0, 1.0)
    sizes: Pair | None = None
    rounding: str | None = None
    output: Quantization | None = None

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """Resized shape; GraphError on unknown rules and sizes that cannot be."""
        shape, quantization = image_of(inputs[0], "the input")
        if len(shape) != 4:
            raise GraphError(f"the input has shape (n, c, h, w), got {shape}")
        if self.coordinate not in COORDINATES or self.rounding not in (None, *NEAREST):
            raise GraphError(f"no rule {self.coordinate!r} with {self.rounding!r}")
        if self.rounding is not None and self.output is not None:
            raise GraphError("nearest resizing has no output quantisation: it keeps the input's")
        if not all(np.isfinite(scale) and 0 < scale < 1e6 for scale in self.scales):
            raise GraphError(f"scales {self.scales} are not positive numbers")
        return [TensorType((*shape[:2], *self._sizes(shape[2:])), self.output or quantization)]

    def _sizes(self, image: Sequence[int]) -> Pair:
        if self.sizes is not None:
            return self.sizes
        height, width = (
            onnxruntime_resize.output_size(size, scale)
            for size, scale in zip(image, self.scales, strict=True)
        )
        return height, width

    def tables(self, node: BoundNode) -> tuple[Int32, Int32]:
        """Rows and columns: int32 [output size, 4], weights in the form that the mode reads."""
        in_sizes, out_sizes = node.inputs[0].shape[2:], node.outputs[0].shape[2:]
        rows, columns = (
            self._table(in_size, out_size, scale)
            for in_size, out_size, scale in zip(in_sizes, out_sizes, self.scales, strict=True)
        )
        return rows, columns

    def _table(self, in_size: int, out_size: int, scale: float) -> Int32:
        if self.sizes is not None:
            scale = float(np.float32(out_size) / np.float32(in_size))
        if self.rounding is None:
            return onnxruntime_resize.linear(in_size, out_size, scale, self.coordinate)
        at = onnxruntime_resize.nearest(in_size, out_size, scale, self.coordinate, self.rounding)
        return np.stack([at, at, np.full_like(at, ONE), np.zeros_like(at)], axis=1)

    def _nearest(self, node: BoundNode) -> tuple[Resize, BoundNode]:
        """The operator that takes tables, and the node as it sees it."""
        op = Resize("nearest")
        rows, columns = self.tables(node)
        constants = {"rows": rows, "columns": columns}
        names = node.input_names, node.output_names
        types = node.inputs, node.outputs
        return op, BoundNode(node.name, op, *names, *types, constants)

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Gathers; for linear mode the four products in ONNX Runtime's order."""
        rows, columns = self.tables(node)
        if self.rounding is not None:
            return [np.ascontiguousarray(inputs[0][:, :, rows[:, 0]][:, :, :, columns[:, 0]])]
        real = affine.dequantize(inputs[0], self._read_as(node))
        row_weights, column_weights = (
            np.ascontiguousarray(table[:, 2:]).view(np.float32) for table in (rows, columns)
        )
        total = np.zeros(node.outputs[0].shape, np.float32)
        for row in (0, 1):
            for column in (0, 1):
                weight = column_weights[:, column] * row_weights[:, row, None]
                total += weight * real[:, :, rows[:, row]][:, :, :, columns[:, column]]
        return [self._rounded(total, node.inputs[0].quantized)]

    def _read_as(self, node: BoundNode) -> Quantization:
        """What the input's values stand for in linear mode."""
        x = node.inputs[0].quantized
        return x if self.output is not None else Quantization(1.0, 0, x.dtype)

    def _made_as(self, node: BoundNode) -> Quantization:
        """What the output's values stand for: the numbers themselves where none is given."""
        return self.output or Quantization(1.0, 0, node.inputs[0].quantized.dtype)

    def _rounded(self, real: Float32, x: Quantization) -> Array:
        """A value of the result."""
        if self.output is not None:
            return affine.quantize(real, self.output)
        return np.clip(np.trunc(real), *x.range).astype(x.dtype)

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Those of resize for nearest; any channel-packed layouts for linear."""
        if self.rounding is not None:
            op, bound = self._nearest(node)
            return op.candidates(bound, gpu)
        return packed_options("bilinear", node, gpu, lambda _, written: 4 * written)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """Rows, columns, and for linear mode the thresholds of the output."""
        if self.rounding is not None:
            op, bound = self._nearest(node)
            return op.pack_weights(bound, choice)
        rows, columns = self.tables(node)
        x = node.inputs[0].quantized
        limits = (self.output or x).range
        found = steps(lambda real: self._rounded(real, x), *limits)
        thresholds = np.append(found, np.float32(np.inf))
        return {
            "rows": rows.reshape(-1),
            "columns": columns.reshape(-1),
            "thresholds": thresholds.astype(np.float32),
        }

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per output word."""
        if self.rounding is not None:
            op, bound = self._nearest(node)
            return op.lower(bound, choice)
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        push: dict[str, int | float] = {
            **sizes_push(node),
            "input_zero_point": self._read_as(node).stored_zero_point,
            "input_scale": self._read_as(node).scale,
            "output_inverse_scale": float(np.float32(1.0 / self._made_as(node).scale)),
            "output_zero_point": self._made_as(node).stored_zero_point,
            "word_count": words,
        }
        bindings = {"Input": input_ref(), "Output": output_ref()}
        bindings |= {role.capitalize(): weights_ref(role) for role in self._roles()}
        return [
            Dispatch("onnx_resize", bindings, linear_grid(words), push, layout_constants(choice))
        ]

    def _roles(self) -> tuple[str, ...]:
        return "rows", "columns", "thresholds"
