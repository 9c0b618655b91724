"""The operator conv2d: its fields, its types, its exact result, and the list of its algorithms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.layouts import dims_of
from vkbackend.ops.base import Candidate, Dispatch, Operator, Options
from vkbackend.ops.conv2d import (
    coopmat,
    coopmat_window,
    depthwise,
    depthwise_dot,
    depthwise_rows,
    direct,
    direct_rows,
    im2col,
    implicit_gemm,
    pointwise,
    split,
    weights,
)
from vkbackend.ops.conv2d.geometry import Geometry, Pair, image_of, output_size
from vkbackend.ops.conv2d.reference import accumulate
from vkbackend.quant.requantize import mode, requantize

_ALONE = (
    coopmat,
    coopmat_window,
    pointwise,
    depthwise_dot,
    depthwise_rows,
    depthwise,
    direct_rows,
    im2col,
    implicit_gemm,
    direct,
)
MODULES = (*_ALONE, split)
ALGORITHMS = {
    **{module.ALGORITHM: module for module in _ALONE},
    coopmat.SPLIT: coopmat,
    **dict.fromkeys(split.ALGORITHMS, split),
}


# A rewrite prices a convolution alone and fused before the resolver prices what is left.
@functools.lru_cache(maxsize=64)
def options(geometry: Geometry, gpu: GpuInfo) -> Options:
    """The union of what the algorithms offer."""
    found = [module.candidates(geometry, gpu) for module in MODULES]
    return Options(
        tuple(candidate for offer in found for candidate in offer.eligible),
        tuple(rejected for offer in found for rejected in offer.rejected),
    )


@dataclass(frozen=True)
class Conv2d(Operator):
    """y = requantize(bias + sum((x - x_zero_point) * (w - weight_zero_point))).

    Constants: weight int8 [oc, ic / groups, kh, kw] (uint8 weights stored with 128 subtracted);
    weight_scale float32 [oc] or [1]; bias int32 [oc] and weight_zero_point int32 [1] or [oc]
    optional, and in mode `executorch` float_bias float32 [oc], which is added after scaling.
    x and y are (n, c, h, w), or (n, c, w) for a convolution over one axis. Pairs are (height,
    width); padding is (top, left, bottom, right); clamp is in y's values.
    """

    kind: ClassVar[str] = "conv2d"
    fills_slices: ClassVar[bool] = True
    constant_roles: ClassVar[tuple[str, ...]] = (
        "weight",
        "weight_scale",
        "bias",
        "weight_zero_point",
        "float_bias",
    )

    output: Quantization
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    clamp: tuple[int, int] | None = None
    requantize: str = "float"

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """y's type; raises GraphError where sizes, types or quantisation cannot be."""
        shape, x = image_of(inputs[0], "the input")
        batch, channels, height, width = dims_of(shape)
        weight = constants["weight"]
        self._verify_fields()
        self._verify_constants(constants, channels)
        kernel = weight.shape[2], weight.shape[3]
        size = output_size((height, width), kernel, self.stride, self.padding, self.dilation)
        scale = constants["weight_scale"]
        parameters = mode(self.requantize).parameters(x.scale, scale, self.output.scale)
        if parameters.shape[0] != scale.size or parameters.shape[1] not in (2, 3):
            raise GraphError("the requantisation parameters have a wrong shape")
        out_channels = weight.shape[0]
        out_shape = (batch, out_channels, *(size if len(shape) == 4 else size[1:]))
        return [TensorType(out_shape, self.output)]

    def _verify_fields(self) -> None:
        if min(self.stride) < 1 or min(self.dilation) < 1 or self.groups < 1:
            raise GraphError(
                f"stride, dilation and groups are at least 1, got {self.stride}, "
                f"{self.dilation}, {self.groups}"
            )
        if min(self.padding) < 0:
            raise GraphError(f"padding is at least 0, got {self.padding}")
        low, high = self.output.range
        if self.clamp and not low <= self.clamp[0] <= self.clamp[1] <= high:
            raise GraphError(f"clamp {self.clamp} is outside {self.output.dtype} {low}..{high}")

    def _verify_constants(self, constants: Mapping[str, Array], channels: int) -> None:
        weight = constants["weight"]
        if weight.dtype != np.int8 or weight.ndim != 4 or 0 in weight.shape:
            raise GraphError(
                f"weight is int8 [oc, ic, kh, kw], got {weight.dtype} {list(weight.shape)}"
            )
        out_channels = weight.shape[0]
        if weight.shape[1] * self.groups != channels or out_channels % self.groups:
            raise GraphError(
                f"weight {list(weight.shape)} in {self.groups} groups does not fit "
                f"{channels} input channels"
            )
        wanted = {"weight_scale": "float32", "bias": "int32", "weight_zero_point": "int32"}
        for role, dtype in {**wanted, "float_bias": "float32"}.items():
            array = constants.get(role)
            if array is None and role != "weight_scale":
                continue
            if array is None or array.dtype != dtype or array.ndim != 1:
                raise GraphError(f"{role} is {dtype} of one dimension")
            if array.size not in ((out_channels,) if "bias" in role else (1, out_channels)):
                raise GraphError(f"{role} has {array.size} values for {out_channels} channels")
        scale = constants["weight_scale"]
        if not (np.isfinite(scale).all() and (scale >= 0).all()):
            raise GraphError("weight_scale holds a negative or infinite value or a NaN")
        self._verify_float_bias(constants.get("float_bias"))

    def _verify_float_bias(self, float_bias: Array | None) -> None:
        if float_bias is not None and self.requantize != "executorch":
            raise GraphError(f"float_bias needs requantize executorch, got {self.requantize!r}")
        if float_bias is not None and not np.isfinite(float_bias).all():
            raise GraphError("float_bias holds an infinite value or a NaN")

    def geometry(self, node: BoundNode) -> Geometry:
        """Every number of this convolution."""
        batch, in_channels, in_height, in_width = dims_of(node.inputs[0].shape)
        _, out_channels, out_height, out_width = dims_of(node.outputs[0].shape)
        weight = node.constants["weight"]
        return Geometry(
            batch,
            in_channels,
            (in_height, in_width),
            out_channels,
            (out_height, out_width),
            (weight.shape[2], weight.shape[3]),
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            node.inputs[0].quantized,
            self.output,
            self.clamp,
            self.requantize,
            len(weights.parts(node.constants)),
        )

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """The exact result; int32 sums wrap as they do on a device."""
        geometry = self.geometry(node)
        sums = accumulate(geometry, inputs[0], node.constants)
        parameters = weights.mode_parameters(geometry, node.constants)
        result = requantize(
            np.moveaxis(sums, 1, -1), parameters, self.output, self.clamp, self.requantize
        )
        return [np.ascontiguousarray(np.moveaxis(result, -1, 1)).reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """The union of what the algorithms offer."""
        return options(self.geometry(node), gpu)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """Weights and per-channel parameters for the chosen kernel."""
        geometry = self.geometry(node)
        pack = ALGORITHMS[choice.algorithm].pack
        return {
            "weights": pack(geometry, node.constants, choice),
            "channels": weights.channel_parameters(geometry, node.constants, choice),
        }

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """The chosen algorithm's dispatches."""
        lower: Callable[[Geometry, Candidate], Sequence[Dispatch]]
        lower = ALGORITHMS[choice.algorithm].lower
        return lower(self.geometry(node), choice)
