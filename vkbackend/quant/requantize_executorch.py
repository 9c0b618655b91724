"""Mode `executorch`, of its Vulkan delegate: scale, then a float bias, each rounded on its own.

sc = fl(x_scale * w_scale), r = fl(1 / y_scale); f = fl(fl(float32(acc) * sc) + bias);
y = rint(fl(f * r)) + zero point. Nothing is fused: its own runtime gives these bits on lavapipe.
The zero point of x and a relu are exact outside of this: the one in the integer sum, the other
as a clamp at y's zero point, since every step is monotone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vkbackend.errors import GraphError

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

CODE = 3
LIMIT = 2.0**30  # results are limited to +-LIMIT, so that a zero point can be added


def parameters(x_scale: float, w_scale: Float32, y_scale: float) -> Int32:
    """int32 [channels, 3]: the bits of sc, of a bias of 0, and of r. Raises GraphError."""
    with np.errstate(over="ignore"):
        product = np.float32(x_scale) * w_scale.astype(np.float32)
        inverse = reciprocal(y_scale)
    if not (np.isfinite(product).all() and np.isfinite(inverse)):
        raise GraphError(f"scales {x_scale:g} and {y_scale:g} leave the range of float32")
    words = np.zeros((product.size, 3), np.float32)
    words[:, 0], words[:, 2] = product, inverse
    bits: Int32 = words.view(np.int32)
    return bits


def with_bias(parameters: Int32, bias: Float32) -> Int32:
    """The same with a float32 bias per channel."""
    words: Int32 = np.broadcast_to(parameters, (bias.size, 3)).copy()
    words[:, 1] = bias.astype(np.float32).view(np.int32)
    return words


def scale(accumulator: Int32, parameters: Int32) -> npt.NDArray[np.int64]:
    """rint(fl(fl(fl(float32(acc) * sc) + bias) * r)); accumulator is [..., channels]."""
    product, bias, inverse = (
        np.ascontiguousarray(parameters[:, word]).view(np.float32) for word in range(3)
    )
    with np.errstate(over="ignore"):
        quotient = (accumulator.astype(np.float32) * product + bias) * inverse
    return np.asarray(np.clip(np.rint(quotient), -LIMIT, LIMIT).astype(np.int64))


def reciprocal(y_scale: float) -> np.float32:
    """fl(1 / y_scale), as the host computes it."""
    inverse: np.float32 = np.float32(1) / np.float32(y_scale)
    return inverse
