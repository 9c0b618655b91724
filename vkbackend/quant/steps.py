"""Where rising functions of a float32 step from one integer to the next: exact on every device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array

Float32 = npt.NDArray[np.float32]


def steps(function: Callable[[Float32], Array], low: int, high: int) -> Float32:
    """The least float32 value at which a function reaches each of low + 1 ... high; inf where none.

    `function` never falls and takes arrays of any shape. Found by bisecting all float32 values:
    function(x) = low + number of steps <= x, for every x but NaN.
    """
    targets = np.arange(low + 1, high + 1)
    below = np.full(targets.shape, -_INFINITY - 1, np.int64)
    reached = np.full(targets.shape, _INFINITY + 1, np.int64)
    while np.any(reached - below > 1):
        # Where they are neighbours already this is `reached`, which stays as it is.
        middle = (below + reached + 1) // 2
        with np.errstate(over="ignore", invalid="ignore"):
            values = function(_float_at(np.clip(middle, -_INFINITY, _INFINITY)))
        is_reached = (values.astype(np.int64) >= targets) | (middle > _INFINITY)
        reached = np.where(is_reached, middle, reached)
        below = np.where(is_reached, below, middle)
    return _float_at(np.minimum(reached, _INFINITY))


def _position(value: float) -> int:
    """Place of a float32 among all of them in rising order; both zeros at 0."""
    bits = int(np.array(value, np.float32).view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _float_at(position: npt.NDArray[np.int64]) -> Float32:
    bits = np.abs(position).astype(np.uint32) | np.where(position < 0, 0x80000000, 0)
    return np.asarray(bits.astype(np.uint32).view(np.float32))


_INFINITY = _position(np.inf)
