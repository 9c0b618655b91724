"""ONNX Runtime's sums: pooling, softmax and means, bit for bit (CPU provider, 1.32, x86-64).

A float32 sum depends on its order: each function here has that of ONNX Runtime.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array, Quantization
from vkbackend.quant.onnxruntime import Float32, rounded

Int64 = npt.NDArray[np.int64] | np.int64


def mean_of_sum(total: Float32, count: Int64, y: Quantization) -> Array:
    """QLinearAveragePool behind the sum: rint(fl(fl(fl(sum / count) / ys) + yz))."""
    mean = total / np.asarray(count).astype(np.float32)
    with np.errstate(over="ignore"):
        return rounded(mean / np.float32(y.scale) + np.float32(y.zero_point), y)


def exponentials(x: Quantization, count: int) -> Float32:
    """exp(-d * xs) by distance d = 0 ... 255 from the greatest of a row of `count` values.

    In double, then float32: times a number that ONNX Runtime chooses by `count`, which decides how
    each is rounded, and times a power of two that brings the greatest below 1. What cannot change
    a sum with the greatest is 0.
    """
    limit = np.finfo(np.float32).max / np.float32(count)
    shift = (np.float64(np.float32(np.log(np.float64(limit)))) - 5) / np.float64(x.scale)
    powers = np.exp((shift - np.arange(256)) * np.float64(x.scale)).astype(np.float32)
    scaled = np.ldexp(powers, -np.frexp(powers[0])[1])
    return np.asarray(np.where(scaled < 2.0**-100, 0, scaled), np.float32)


def softmax_steps(y: Quantization) -> int:
    """floor(fl(1 / ys)): what QLinearSoftmax multiplies with instead of dividing by ys."""
    return int(np.floor(np.float32(1) / np.float32(y.scale)))


def softmax(values: Array, x: Quantization, y: Quantization) -> Array:
    """QLinearSoftmax over the last axis: rint(e * steps / S) + yz in double, S a float32 sum in
    order.
    """
    distance = values.max(axis=-1, keepdims=True).astype(np.int64) - values
    each = exponentials(x, values.shape[-1])[distance]
    total = np.zeros(values.shape[:-1], np.float32)
    for position in range(values.shape[-1]):
        total = total + each[..., position]
    exact = each.astype(np.float64) * softmax_steps(y) / total[..., np.newaxis]
    low, high = y.range
    return np.asarray(np.clip(np.rint(exact) + y.zero_point, low, high).astype(y.dtype))


def row_sums(values: Float32, order: str) -> Float32:
    """Sums over the middle axis of [outer, count, inner], in the order of ReduceSum on x86-64.

    `packets` (inner 1): Eigen's, two accumulators of four lanes from the first address that 16
    divides. `fours`: a matrix product with ones, four rows at a time, then two, then one.
    `sequence`: one by one.
    """
    outer, count, inner = values.shape
    if order == "packets":
        flat = values.reshape(outer, count)
        sums = [_packet_sum(row, index * count) for index, row in enumerate(flat)]
        return np.array(sums, np.float32).reshape(outer, inner)
    if order == "sequence":
        return _sequence_sum(values)
    whole = count // 4 * 4
    groups = [*range(0, whole, 4), *range(whole, count, 2), count]
    parts = [_sequence_sum(values[:, a:b]) for a, b in itertools.pairwise(groups)]
    return _sequence_sum(np.stack(parts, axis=1))


def _sequence_sum(values: Float32) -> Float32:
    """Over the second axis, one by one."""
    total: Float32 = values[:, 0]
    for position in range(1, values.shape[1]):
        total = total + values[:, position]
    return total


def _packet_sum(row: Float32, place: int) -> np.float32:
    head = min(-place % 4, row.size)
    packets = row[head : head + (row.size - head) // 4 * 4].reshape(-1, 4)
    if not len(packets):
        alone: np.float32 = _sequence_sum(row[np.newaxis])[0]
        return alone
    even = packets[0]
    if len(packets) > 1:
        odd = packets[1]
        for index in range(2, len(packets) - 1, 2):
            even, odd = even + packets[index], odd + packets[index + 1]
        even = even + odd
        if len(packets) % 2:
            even = even + packets[-1]
    total: np.float32 = (even[0] + even[2]) + (even[1] + even[3])
    for value in (*row[:head], *row[head + packets.size :]):
        total = total + value
    return total
