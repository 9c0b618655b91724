"""Weights and biases of ONNX nodes as conv2d and linear take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import Constant, QuantizedConstant, RefusedError
from vkbackend.graph import Array
from vkbackend.quant import onnxruntime

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Weight:
    """Quantised weights, output channels first; scale and zero point one value or one each."""

    array: Array
    scale: npt.NDArray[np.float32]
    zero_point: Int32

    def constants(self, bias: Int32 | None) -> dict[str, Array]:
        """The constants of conv2d and linear: uint8 weights are stored with 128 subtracted."""
        shift = 128 if self.array.dtype == np.uint8 else 0
        zero_point = self.zero_point - np.int32(shift)
        found: dict[str, Array] = {
            "weight": (self.array.astype(np.int16) - shift).astype(np.int8),
            "weight_scale": self.scale,
        }
        if bias is not None:
            found["bias"] = bias
        if zero_point.any():
            found["weight_zero_point"] = zero_point.astype(np.int32)
        return found


def weight_of_operator(scope: Scope, node: OnnxNode, first: int, channel_axis: int) -> Weight:
    """Weights of a QLinear operator: tensor, scale and zero point from input `first` on."""
    array = scope.value(node, first)
    if not isinstance(array, Constant):
        raise RefusedError(
            f"weight {node.inputs[first]!r} is computed by the network; it is constant"
        )
    scale, zero_point = scope.scales(node, first + 1, first + 2, str(array.array.dtype))
    return _weight(node, array.array, scale, zero_point.astype(np.int32), channel_axis)


def weight_of_float(scope: Scope, node: OnnxNode, index: int, channel_axis: int) -> Weight:
    """Weights of a float operator: DequantizeLinear of a constant, per tensor or output channel."""
    value = scope.value(node, index)
    if not isinstance(value, QuantizedConstant):
        raise RefusedError(f"weight {node.inputs[index]!r} is not DequantizeLinear of a constant")
    if value.scale.size > 1 and value.axis != channel_axis:
        raise RefusedError(
            f"weight {node.inputs[index]!r} has scales along axis {value.axis}; "
            f"output channels lie along axis {channel_axis}"
        )
    return _weight(node, value.array, value.scale, value.zero_point, channel_axis)


def _weight(
    node: OnnxNode, array: Array, scale: Array, zero_point: Int32, channel_axis: int
) -> Weight:
    """Verified, with output channels moved to the front."""
    if array.dtype not in (np.int8, np.uint8):
        raise RefusedError(f"weights are int8 or uint8, got {array.dtype}")
    if array.ndim <= channel_axis:
        raise RefusedError(f"weights of shape {list(array.shape)} have no output channels")
    channels = array.shape[channel_axis]
    for what, values in (("scale", scale), ("zero point", zero_point)):
        if values.size not in (1, channels):
            raise RefusedError(f"{values.size} weight {what}s for {channels} output channels")
    return Weight(np.moveaxis(array, channel_axis, 0), scale, zero_point)


def quantized_bias(
    scope: Scope, node: OnnxNode, index: int, x_scale: float, weight: Weight, factor: float = 1.0
) -> Int32 | None:
    """The bias of a float operator as int32 [oc], or None where it is omitted.

    An int32 bias of scale fl(xs * ws) is taken as it is; one of another scale, or a float bias,
    is rounded to it as ONNX Runtime rounds float biases. `factor` multiplies it before.
    """
    if not node.has_input(index):
        return None
    channels, product = len(weight.array), np.float32(x_scale) * weight.scale
    value = scope.value(node, index)
    if isinstance(value, QuantizedConstant) and value.array.dtype == np.int32:
        fits = value.scale.size in (1, product.size)
        exact = fits and bool(np.all(value.scale == product))
        if exact and factor == 1.0 and not value.zero_point.any():
            return per_channel(value.array, channels)
    real = np.float32(factor) * scope.array(node, index).astype(np.float32)
    return onnxruntime.quantize_bias(
        per_channel(real, channels), x_scale, np.broadcast_to(weight.scale, channels)
    )


def per_channel(bias: Array, channels: int) -> Array:
    """A bias of shape [], [1], [oc] or [1, oc] as [oc]. Raises RefusedError on another."""
    if bias.size not in (1, channels) or max(bias.shape, default=1) != bias.size:
        raise RefusedError(f"a bias of shape {list(bias.shape)} does not fit {channels} channels")
    whole: Array = np.broadcast_to(bias.reshape(-1), channels).copy()
    return whole
