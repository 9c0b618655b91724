"""Mode `float`, ONNX Runtime's: one float32 multiplier per channel, halves to even.

m = fl(fl(x_scale * w_scale) / y_scale); y = rint(fl(float32(acc) * m)) + zero point
(QLinearConv, QLinearMatMul and QGemm of its CPU provider, compared bit for bit).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CODE = 0


def parameters(
    x_scale: float, w_scale: npt.NDArray[np.float32], y_scale: float
) -> npt.NDArray[np.int32]:
    """int32 [channels, 2]: the bits of the float32 multiplier, and 0."""
    product = np.float32(x_scale) * w_scale.astype(np.float32)
    multiplier = (product / np.float32(y_scale)).astype(np.float32)
    return np.stack([multiplier.view(np.int32), np.zeros(multiplier.size, np.int32)], axis=1)


def scale(
    accumulator: npt.NDArray[np.int32], parameters: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """rint(fl(float32(acc) * m)), limited to +-2^30 so that the zero point can be added."""
    multiplier = np.ascontiguousarray(parameters[:, 0]).view(np.float32)
    scaled = np.rint(accumulator.astype(np.float32) * multiplier)
    limited = np.clip(scaled, -(2.0**30), 2.0**30)
    return np.asarray(limited.astype(np.int64))
