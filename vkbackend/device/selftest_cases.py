"""What the self-test asks a device, and what IEEE 754 and NumPy say the answers are. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vkbackend.gpu import Dot

Words = npt.NDArray[np.uint32]

_RANDOM_COUNT = 128  # operands drawn for each operation, besides the crafted ones


@dataclass(frozen=True)
class Cases:
    """Operations on operands, and their results: words of 32 bits.

    `operands` holds operation and three operands in each row.
    """

    operands: Words
    expected: Words


def cases(dot: Dot) -> Cases:
    """The cases of one variant of the shader; the same in every process."""
    random = np.random.default_rng(20)
    rows: list[Words] = []
    expected: list[Words] = []
    for operation, (_, make) in enumerate(_OPERATIONS):
        operands, results = make(random, dot)
        words = [_words(operand) for operand in operands]
        zeros = np.zeros(len(words[0]), np.uint32)
        columns = [zeros + np.uint32(operation), *words, zeros, zeros][:4]
        rows.append(np.stack(columns, axis=1))
        expected.append(_words(results))
    return Cases(np.concatenate(rows), np.concatenate(expected))


def describe(row: Words, got: int, expected: int) -> str:
    """One wrong answer in words."""
    name, _ = _OPERATIONS[int(row[0])]
    operands = ", ".join(f"0x{int(word):08x}" for word in row[1:])
    return f"{name} of {operands} gave 0x{got:08x}, expected 0x{expected:08x}"


def operation_name(row: Words) -> str:
    """The operation of a row."""
    return _OPERATIONS[int(row[0])][0]


def _words(values: npt.NDArray[Any]) -> Words:
    return np.ascontiguousarray(values).view(np.uint32)


_Made = tuple[Sequence[npt.NDArray[Any]], npt.NDArray[Any]]


def _integers(random: np.random.Generator) -> npt.NDArray[np.int32]:
    """int32 values of every magnitude, among them all kinds of ties in the conversion to float."""
    powers = 1 << np.arange(31, dtype=np.int64)
    near = (powers[:, None] + np.arange(-3, 4)).ravel()
    # From 2**24 on a float holds every 2nd integer only, from 2**25 every 4th: these are halves.
    ties = np.concatenate([(powers[24:] + odd * (powers[24:] >> 24)) for odd in (1, 3, 5, 7)])
    drawn = random.integers(-(2**31), 2**31, _RANDOM_COUNT) >> random.integers(0, 31, _RANDOM_COUNT)
    values = np.concatenate([near, -near, ties, -ties, drawn, [0, -(2**31), 2**31 - 1]])
    kept = values[(values >= -(2**31)) & (values < 2**31)]
    return kept.astype(np.int32)


def _floats(random: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    """Normal floats of both signs, from 2**-20 to 2**20."""
    mantissas = random.integers(1 << 23, 1 << 24, count) / 2.0**23
    values = mantissas * 2.0 ** random.integers(-20, 20, count) * random.choice([-1, 1], count)
    result: npt.NDArray[np.float32] = values.astype(np.float32)
    return result


def _convert(random: np.random.Generator, _dot: Dot) -> _Made:
    values = _integers(random)
    return [values], values.astype(np.float32)


def _multiply(random: np.random.Generator, _dot: Dot) -> _Made:
    # (2**12 + 1) * (2**12 + odd) needs 25 bits or more and ends on a half at 2**-24.
    odd = np.arange(1, 64, 2)
    left = np.concatenate([np.full(odd.size, 4097.0), _floats(random, _RANDOM_COUNT)])
    right = np.concatenate([4096.0 + odd, _floats(random, _RANDOM_COUNT)])
    left, right = left.astype(np.float32), right.astype(np.float32)
    return [left, right], left * right


def _round_even(random: np.random.Generator, _dot: Dot) -> _Made:
    halves = np.arange(-260, 261) / 2
    beside = np.nextafter(halves.astype(np.float32), np.float32(np.inf))
    large = np.array([2**22 + 0.5, 2**22 + 1.5, 2**23 - 0.5, 2**23 + 1, 2**24 + 2, 2**30])
    values = np.concatenate([halves, beside, -beside, large, -large, _floats(random, 64)])
    values = values[(values == 0) | (np.abs(values) > 1e-30)]  # denormals are not promised
    rounded = np.rint(values.astype(np.float32))
    # The sign of a zero is not promised either, and nothing depends on it.
    kept = rounded != 0
    return [values.astype(np.float32)[kept]], rounded[kept]


def _to_integer(random: np.random.Generator, _dot: Dot) -> _Made:
    edges = [0.0, 0.99999994, -0.99999994, 1.5, -1.5, 2**24, 2**31 - 128, -(2**31), 127.5, -128.5]
    values = np.concatenate([edges, _floats(random, _RANDOM_COUNT)]).astype(np.float32)
    return [values], values.astype(np.int32)


def _add_product(random: np.random.Generator, _dot: Dot) -> _Made:
    # Only operands for which a fused multiply-add gives another result.
    a, b = _floats(random, 64 * _RANDOM_COUNT), _floats(random, 64 * _RANDOM_COUNT)
    product = a * b
    c = -product * random.choice(np.array([1.0, 0.5, 2.0, -1.0], np.float32), a.size)
    fused = (a.astype(np.float64) * b + c).astype(np.float32)
    separate = product + c
    differ = np.flatnonzero((fused != separate) & (separate != 0))[:_RANDOM_COUNT]
    tie, one = np.float32(1 + 2**-12), np.float32(1)
    a, b, c = np.append(a[differ], tie), np.append(b[differ], tie), np.append(c[differ], -one)
    return [a, b, c], np.append(separate[differ], tie * tie - one)


def _extract(random: np.random.Generator, _dot: Dot) -> _Made:
    words = np.concatenate([[0x80FF7F01, 0x7F80FF00], random.integers(0, 2**32, 64)])
    offsets = np.tile([0, 8, 16, 24], words.size)
    words = np.repeat(words, 4)
    lanes = (words >> offsets & 255).astype(np.uint8).view(np.int8)
    return [words.astype(np.uint32), offsets.astype(np.uint32)], lanes.astype(np.int32)


def _dot_product(random: np.random.Generator, dot: Dot) -> _Made:
    bytes_ = random.integers(0, 256, (_RANDOM_COUNT, 2, 4)).astype(np.uint8)
    extremes = [(0x80, 0x80), (0xFF, 0x80), (0x80, 0x7F), (0xFF, 0x7F), (0xFF, 0xFF), (0x7F, 0x7F)]
    crafted = np.array([[[left] * 4, [right] * 4] for left, right in extremes], np.uint8)
    pairs = np.ascontiguousarray(np.concatenate([crafted, bytes_]))
    left, right = pairs[:, 0], pairs[:, 1].view(np.int8)
    lanes = left if dot is Dot.MIXED else left.view(np.int8)
    sums = (lanes.astype(np.int32) * right).sum(axis=1, dtype=np.int32)
    words = pairs.reshape(-1, 8).view("<u4").astype(np.uint32)
    return [words[:, 0].copy(), words[:, 1].copy()], sums


def _requantize(random: np.random.Generator, _dot: Dot) -> _Made:
    halves = np.arange(-301, 302, dtype=np.int32)  # times 0.5: every other one is a tie
    accumulators = np.concatenate([halves, _integers(random)])
    drawn = random.uniform(2.0**-24, 2.0**-8, accumulators.size - halves.size)
    multipliers = np.concatenate([np.full(halves.size, 0.5), drawn]).astype(np.float32)
    zero_points = random.integers(-128, 128, accumulators.size).astype(np.int32)
    rounded = np.rint(accumulators.astype(np.float32) * multipliers)
    clamped = np.clip(rounded, -128 - zero_points, 127 - zero_points).astype(np.int32)
    return [accumulators, multipliers, zero_points], clamped + zero_points


def _multiply_high(random: np.random.Generator, _dot: Dot) -> _Made:
    values = _integers(random).astype(np.int64)
    others = random.permutation(values)
    products = values * others
    return [values.astype(np.int32), others.astype(np.int32)], (products >> 32).astype(np.int32)


# In the order of the shader's numbers.
_OPERATIONS: tuple[tuple[str, Callable[[np.random.Generator, Dot], _Made]], ...] = (
    ("conversion to float", _convert),
    ("float multiplication", _multiply),
    ("roundEven", _round_even),
    ("conversion to int", _to_integer),
    ("product and sum", _add_product),
    ("bitfieldExtract", _extract),
    ("dot product", _dot_product),
    ("requantisation", _requantize),
    ("high half of a product", _multiply_high),
)
