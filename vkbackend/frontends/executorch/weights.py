"""What convolutions and linear layers have in common: arguments 3 to 8 and the activation."""

from __future__ import annotations

import numpy as np

from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope
from vkbackend.graph import Array, Quantization

WEIGHT, SUMS, SCALES, BIAS = 3, 4, 5, 8
# What zeros fill up to is a multiple of four.
_PADDING = 3


def verify_sums(scope: Scope, call: Call, weight: Array) -> None:
    """Raises FormatError where the file's sums are not those of its weights."""
    sums = scope.constant(call, SUMS, "int32")
    found = weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
    if sums.ndim != 1 or not np.array_equal(sums[: found.size], found):
        raise scope.wrong(call, "has sums (argument 4) that are not those of its weights")


def channels_of(scope: Scope, call: Call, channels: int) -> dict[str, Array]:
    """Scales, and the bias where there is one, a value per output channel."""
    scales = _per_channel(scope, call, SCALES, channels)
    if not (np.isfinite(scales).all() and (scales >= 0).all()):
        raise scope.wrong(call, "has a weight scale (argument 5) that is negative or no number")
    found = {"weight_scale": scales}
    if scope.record(call, BIAS) is not None:
        found["float_bias"] = _per_channel(scope, call, BIAS, channels)
    return found


def _per_channel(scope: Scope, call: Call, index: int, channels: int) -> Array:
    """The first values of a constant; those of one group stand for all where the file has so few.

    Exporters of grouped transposed convolutions write the scales of one group only.
    """
    values = scope.constant(call, index, "float32")
    if values.ndim == 1 and values.size >= channels:
        found: Array = values[:channels].copy()
        return found
    groups = _groups(scope, call)
    each = channels // groups
    if values.ndim != 1 or groups == 1 or not each <= values.size <= each + _PADDING:
        raise scope.wrong(
            call, f"argument {index} has {list(values.shape)} values for {channels} channels"
        )
    return np.tile(values[:each], groups)


def _groups(scope: Scope, call: Call) -> int:
    if not call.op.startswith("et_vk.q8ta_conv2d_transposed"):
        return 1
    return scope.integer(call, 14)


def activation_clamp(
    scope: Scope, call: Call, activation: str, output: Quantization
) -> tuple[int, int] | None:
    """Limits of the output: a relu ends at the zero point, since rounding never falls."""
    if activation == "none":
        return None
    if activation == "relu":
        return max(output.zero_point, output.range[0]), output.range[1]
    raise scope.wrong(call, f"has activation {activation!r}; none and relu are defined")
