"""Weights and biases of convolutions and fully connected layers, as the operators take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.graph import RANGES, Array


@dataclass(frozen=True, eq=False)
class Weight:
    """int8 values (uint8 less 128), float32 scales (one, or one per output channel), and the zero
    point of the int8 values, 0 where the weights are symmetric."""

    array: Array
    scale: Array
    zero_point: int

    def constants(self, array: Array, bias: Array | None) -> dict[str, Array]:
        """Constants of conv2d or linear, with the values arranged as `array`."""
        constants = {"weight": array, "weight_scale": self.scale}
        if self.zero_point:
            constants["weight_zero_point"] = np.array([self.zero_point], np.int32)
        if bias is not None:
            constants["bias"] = bias
        return constants


def weight_of(
    scope: Scope, node: TfliteOperator, position: int, *, axis: int, x_dtype: str, rank: int
) -> Weight:
    """A constant input as weights, its scales along `axis`. Raises RefusedError."""
    array, tensor = scope.array(node, position), scope.tensor(node, position)
    if tensor.dtype not in ("int8", "uint8") or tensor.dtype != x_dtype:
        raise RefusedError(
            f"activations are {x_dtype} and weights {tensor.dtype}; "
            "both int8 or both uint8 are supported"
        )
    if array.ndim != rank:
        raise RefusedError(f"weights {tensor} have not rank {rank}")
    if tensor.scales.size not in (1, array.shape[axis]):
        raise RefusedError(f"weights {tensor} have {tensor.scales.size} scales")
    if tensor.scales.size > 1 and tensor.axis != axis:
        raise RefusedError(f"weights {tensor} have scales along axis {tensor.axis}, not {axis}")
    zero_point = int(tensor.zero_points[0])
    low, high = RANGES[tensor.dtype]
    if not low <= zero_point <= high:
        raise RefusedError(f"weights {tensor} have the zero point {zero_point}")
    if tensor.dtype == "uint8":
        return Weight(
            (array.astype(np.int16) - 128).astype(np.int8), tensor.scales, zero_point - 128
        )
    return Weight(array, tensor.scales, zero_point if tensor.scales.size == 1 else 0)


def bias_of(scope: Scope, node: TfliteOperator, position: int, channels: int) -> Array | None:
    """A constant int32 input with a value per channel, or None where it is omitted."""
    if not node.has_input(position):
        return None
    bias = scope.array(node, position)
    if bias.dtype != np.int32 or bias.size != channels:
        raise RefusedError(f"bias is {scope.tensor(node, position)}, not int32[{channels}]")
    return bias.reshape(-1)
