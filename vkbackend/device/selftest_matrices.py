"""Whether float16 matrices with float32 sums compute int8 products exactly on a device.

Every product of two int8 values and every sum of 1,024 of them fits a float32, but Vulkan does not
say how a unit adds up (VK_KHR_cooperative_matrix: order and precision are the implementation's).
So kernels count on it only where it was tried.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vkbackend import env, shaders
from vkbackend.device.pipeline_cache import read_file, write_file
from vkbackend.errors import DeviceError
from vkbackend.gpu import CooperativeMatrix

if TYPE_CHECKING:
    from pathlib import Path

    from vkbackend.device import Device, Pipeline

PRODUCTS = 1024
RANDOM_PROBLEMS = 12
_TIMEOUT_S = 60.0
Array = npt.NDArray[Any]
_SHADER = "selftest_matrices"


def prove(device: Device, *, use_cache: bool = True) -> tuple[CooperativeMatrix, ...]:
    """The shapes of float16 matrices that gave the right answers, now or when last tried.

    DeviceError when the device is lost.
    """
    shapes = [m for m in device.info.cooperative_matrices if m.computes_float16]
    if not shapes or not device.info.shader_float16:
        return ()
    module = shaders.load(_SHADER)
    path = env.cache_directory() / "selftest" / f"{device.identity}-{module.digest[:16]}.json"
    exact = _read(path, len(shapes)) if use_cache else None
    if exact is None:
        exact = [_is_exact(device, module, shape) for shape in shapes]
        write_file(path, json.dumps({"exact": exact}).encode() + b"\n")
    return tuple(shape for shape, is_right in zip(shapes, exact, strict=True) if is_right)


def _read(path: Path, count: int) -> list[bool] | None:
    try:
        exact = json.loads(read_file(path))["exact"]
    except (ValueError, KeyError, TypeError):
        return None
    is_right = isinstance(exact, list) and len(exact) == count
    return exact if is_right and all(isinstance(item, bool) for item in exact) else None


def problems(m_size: int, n_size: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """int8 [problem, m, 1024] and [problem, n, 1024]: the largest sums, cancelling ones, random."""
    random = np.random.default_rng(7)
    count = RANDOM_PROBLEMS + 4
    rows = random.integers(-128, 128, (count, m_size, PRODUCTS)).astype(np.int8)
    columns = random.integers(-128, 128, (count, n_size, PRODUCTS)).astype(np.int8)
    rows[0], columns[0] = -128, -128  # 2^24 in the end
    rows[1], columns[1] = -128, 127
    rows[2] = -128
    columns[2] = np.where(np.arange(PRODUCTS) % 2, 127, -128)
    columns[3] = np.where(np.arange(PRODUCTS) < PRODUCTS // 2, -128, 127)
    return rows, columns


def _is_exact(device: Device, module: shaders.Module, matrix: CooperativeMatrix) -> bool:
    """Whether all of a shape's answers are right; a shape that does not compile is not."""
    rows, columns = problems(matrix.m_size, matrix.n_size)
    addends = np.random.default_rng(8).integers(-(2**26), 2**26, columns.shape[:2]).astype(np.int32)
    products = rows.astype(np.int32) @ columns.astype(np.int32).swapaxes(1, 2)
    expected = products + addends[:, None, :]
    size = device.info.subgroup_size
    constants = {
        "SUBGROUP_SIZE": size,
        "M_SIZE": matrix.m_size,
        "N_SIZE": matrix.n_size,
        "K_SIZE": matrix.k_size,
    }
    try:
        pipeline = device.pipeline(module, constants, subgroup_size=size)
    except DeviceError:
        return False
    inputs: list[Array] = [rows.astype(np.float16), columns.astype(np.float16), addends]
    answers = _answers(device, pipeline, inputs, expected.nbytes)
    return bool(np.array_equal(answers.view(np.int32), expected.reshape(-1)))


def _answers(
    device: Device, pipeline: Pipeline, inputs: Sequence[Array], size_bytes: int
) -> npt.NDArray[np.uint8]:
    names = "Rows", "Columns", "Addends"
    with (
        device.buffer(inputs[0].nbytes, access="device") as first,
        device.buffer(inputs[1].nbytes, access="device") as second,
        device.buffer(inputs[2].nbytes, access="device") as third,
        device.buffer(size_bytes, access="device") as results,
        device.commands() as commands,
    ):
        device.write(results, np.zeros(size_bytes, np.uint8))
        buffers = first, second, third
        for buffer, array in zip(buffers, inputs, strict=True):
            device.write(buffer, array)
        bindings = {name: buffer.region() for name, buffer in zip(names, buffers, strict=True)}
        bindings["Results"] = results.region()
        commands.dispatch(pipeline, bindings, {}, (len(inputs[0]), 1, 1))
        commands.run(_TIMEOUT_S)
        return device.read(results, size_bytes)


def with_proven(device: Device) -> None:
    """Notes what is proven among the device's facts, where it has no matrices of int8."""
    if not any(matrix.computes_int8 for matrix in device.info.cooperative_matrices):
        device.info = dataclasses.replace(device.info, exact_float_matrices=prove(device))
