"""ONNX Runtime's sums: pooling, softmax and means, bit for bit (CPU provider, 1.32, x86-64).

A float32 sum depends on its order: each function here has that of ONNX Runtime.
"""

from __future__ import annotations

import math

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


def exponentials(x: Quantization) -> Float32:
    """float32(exp(-d * xs)) in double, by distance d = 0 ... 255 from a row's greatest value."""
    powers = np.exp(np.arange(256) * -np.float64(x.scale))
    return np.asarray(powers.astype(np.float32))


def softmax_steps(y: Quantization) -> np.float32:
    """floor(fl(1 / ys)): what QLinearSoftmax multiplies with instead of dividing by ys."""
    steps: np.float32 = np.float32(math.floor(np.float32(1) / np.float32(y.scale)))
    return steps


def softmax(values: Array, x: Quantization, y: Quantization) -> Array:
    """QLinearSoftmax over the last axis: rint(fl(fl(e * steps) / S)) + yz, S summed in order."""
    distance = values.max(axis=-1, keepdims=True).astype(np.int64) - values
    each = exponentials(x)[distance]
    total = np.zeros(values.shape[:-1], np.float32)
    for position in range(values.shape[-1]):
        total = total + each[..., position]
    rounded = np.rint(each * softmax_steps(y) / total[..., np.newaxis])
    low, high = y.range
    return np.asarray(np.clip(rounded + y.zero_point, low, high).astype(y.dtype))


def row_sums(values: Float32, order: str) -> Float32:
    """Sums over the middle axis of [outer, count, inner], in the order of ReduceSum on x86-64.

    `packets` (inner 1): Eigen's, two accumulators of four lanes from the first address that 16
    divides. `fours`: a matrix product with ones, four rows at a time. `sequence`: one by one.
    """
    outer, count, inner = values.shape
    if order == "packets":
        flat = values.reshape(outer, count)
        sums = [_packet_sum(row, index * count) for index, row in enumerate(flat)]
        return np.array(sums, np.float32).reshape(outer, inner)
    group = 4 if order == "fours" and count >= 4 else 1
    whole = count // group * group
    total = _sequence_sum(values[:, :group])
    for first in range(group, whole, group):
        total = total + _sequence_sum(values[:, first : first + group])
    for position in range(whole, count):
        total = total + values[:, position]
    return total


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
