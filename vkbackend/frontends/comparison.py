"""What comparing a network with another runtime has found, whichever the runtime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vkbackend.errors import VkBackendError
from vkbackend.graph import Array


@dataclass(frozen=True)
class Difference:
    """The first tensor that differs, the operator that makes it, and its first element that does,
    in the file's axis order. `expected` is the other runtime's value.
    """

    tensor: str
    node: str
    operator: str
    index: tuple[int, ...]
    found: float
    expected: float
    wrong: int
    elements: int


@dataclass(frozen=True)
class Comparison:
    """What was compared: names of tensors in the file's order, their values, what differs first.

    `close` are float32 tensors that are equal within the runtime's tolerance only.
    """

    tensors: tuple[str, ...]
    values: int
    difference: Difference | None
    close: tuple[str, ...] = ()


def differing(found: Array, expected: Array) -> Array:
    """Where two arrays differ in a bit: of float32 -0.0 and NaN count too."""
    if found.dtype == np.float32:
        found, expected = (np.ascontiguousarray(each).view(np.uint32) for each in (found, expected))
    return np.asarray(found != expected)


def verify_types(where: str, runtime: str, found: Array, expected: Array) -> None:
    """VkBackendError where dtype or shape are not the same."""
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        ours, theirs = (f"{each.dtype}{list(each.shape)}" for each in (found, expected))
        raise VkBackendError(f"{where} is {ours} here and {theirs} in {runtime}")


def first_of(
    tensor: str, node: str, operator: str, wrong: Array, found: Array, expected: Array
) -> Difference:
    """The difference at the first place where `wrong` is true."""
    places = np.argwhere(wrong)
    at = tuple(int(position) for position in places[0])
    values = float(found[at]), float(expected[at])
    return Difference(tensor, node, operator, at, *values, wrong=len(places), elements=found.size)
