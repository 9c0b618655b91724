"""From an int32 accumulator to an int8 output: one module per mode, chosen by the frontend.

A mode gives `parameters` (what a kernel needs per output channel, up to three int32 words) and
`requantize` (the exact result in NumPy). `shaders/include/requantize.glsl` follows it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from vkbackend.errors import GraphError
from vkbackend.graph import Quantization
from vkbackend.quant import requantize_executorch, requantize_fixed, requantize_float

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


class Mode(Protocol):
    """One arithmetic of requantisation."""

    CODE: int

    def parameters(self, x_scale: float, w_scale: Float32, y_scale: float) -> Int32:
        """int32 [channels, 2 or 3]: what the kernel reads beside the bias."""
        ...

    def scale(self, accumulator: Int32, parameters: Int32) -> npt.NDArray[np.int64]:
        """Rounded quotient before the zero point: accumulator [..., channels]."""
        ...


MODES: dict[str, Mode] = {
    "float": requantize_float,
    "fixed": requantize_fixed.FIXED,
    "fixed_uint8": requantize_fixed.FIXED_UINT8,
    "fixed_single": requantize_fixed.FIXED_SINGLE,
    "executorch": requantize_executorch,
}


def mode(name: str) -> Mode:
    """The mode of that name; GraphError lists the names there are."""
    try:
        return MODES[name]
    except KeyError:
        raise GraphError(f"requantize is one of {', '.join(MODES)}, got {name!r}") from None


def channel_words(bias: npt.NDArray[np.integer], parameters: Int32) -> Int32:
    """int32 [channels, 4], a row per channel as kernels read it: bias, parameters, zeros."""
    words = np.zeros((len(bias), 4), np.int32)
    words[:, 0] = bias.astype(np.int32)
    words[:, 1 : 1 + parameters.shape[1]] = parameters
    return words


def requantize(
    accumulator: Int32,
    parameters: Int32,
    output: Quantization,
    clamp: tuple[int, int] | None,
    mode_name: str,
) -> npt.NDArray[np.int_]:
    """clamp(scale(accumulator) + zero_point) as output.dtype; accumulator is [..., channels]."""
    low, high = clamp or output.range
    scaled = mode(mode_name).scale(accumulator, parameters)
    result: npt.NDArray[np.int_] = np.clip(scaled + output.zero_point, low, high).astype(
        output.dtype
    )
    return result
