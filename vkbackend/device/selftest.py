"""Whether a device computes exactly: every primitive that the kernels rest on, bit for bit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vkbackend import env, shaders
from vkbackend.device import Device
from vkbackend.device.pipeline_cache import read_file, write_file
from vkbackend.device.selftest_cases import Cases, cases, describe, operation_name
from vkbackend.errors import DeviceError
from vkbackend.gpu import INTEGER_DOTS, Dot

_TIMEOUT_S = 60.0
_LOCAL_SIZE = 64


@dataclass(frozen=True)
class Exactness:
    """A self-test's verdict; `failures` names each operation that went wrong, with one case."""

    exact: bool
    failures: tuple[str, ...]


def exactness(device: Device, *, use_cache: bool = True) -> Exactness:
    """The verdict on a device: from the cache folder, or from running the self-test now.

    A verdict is kept by device, driver, shaders and cases. DeviceError when the device is lost.
    """
    forms = INTEGER_DOTS if device.info.dot_product else (Dot.PLAIN,)
    work = [(form, shaders.load(f"selftest.{form.value}"), cases(form)) for form in forms]
    digest = hashlib.sha256()
    for _, module, questions in work:
        digest.update(module.digest.encode())
        digest.update(questions.operands.tobytes() + questions.expected.tobytes())
    name = f"{device.identity}-{digest.hexdigest()[:16]}.json"
    path = env.cache_directory() / "selftest" / name
    failures = _read_verdict(path) if use_cache else None
    if failures is None:
        failures = [
            f"{form.value}: {failure}"
            for form, module, questions in work
            for failure in _failures(device, module, questions)
        ]
        write_file(path, json.dumps({"failures": failures}, indent=1).encode() + b"\n")
    return Exactness(not failures, tuple(failures))


def _read_verdict(path: Path) -> list[str] | None:
    """The failures that a file tells of; None when it is not there, or damaged."""
    try:
        failures = json.loads(read_file(path))["failures"]
    except (ValueError, KeyError, TypeError):
        return None
    is_right = isinstance(failures, list) and all(isinstance(item, str) for item in failures)
    return failures if is_right else None


def _failures(device: Device, module: shaders.Module, questions: Cases) -> list[str]:
    """One line for each operation that went wrong."""
    try:
        pipeline = device.pipeline(module, {})
    except DeviceError as error:  # a compiler that fails on one form may do well on another
        return [str(error)]
    count = len(questions.expected)
    with (
        device.buffer(questions.operands.nbytes, access="device") as operands,
        device.buffer(questions.expected.nbytes, access="device") as results,
        device.commands() as commands,
    ):
        device.write(operands, questions.operands)
        bindings = {"Cases": operands.region(), "Results": results.region()}
        groups = -(-count // _LOCAL_SIZE)
        commands.dispatch(pipeline, bindings, {"case_count": count}, (groups, 1, 1))
        commands.run(_TIMEOUT_S)
        answers = device.read(results, questions.expected.nbytes).view(np.uint32)
    wrong = np.flatnonzero(answers != questions.expected)
    first: dict[str, str] = {}
    for index in wrong:
        row = questions.operands[index]
        line = describe(row, int(answers[index]), int(questions.expected[index]))
        first.setdefault(operation_name(row), line)
    return list(first.values())
