"""Pipelines made by threads, and kernels that a late compiler is made to compile at once."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.gpu.conftest import find_device
from tests.gpu.small_kernels import COUNT, IN_PLACE, CompileGlsl
from tests.gpu.test_runtime import assert_equal, expected_of, inputs_of
from tests.null.networks import residual
from vkbackend import compiling
from vkbackend.device import Device, Pipeline
from vkbackend.errors import DeviceError, OutOfMemoryError
from vkbackend.runtime import load
from vkbackend.shaders import Module


def test_each_pipeline_is_made_once_by_a_thread(
    own_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, threads, asked = Device.pipeline, set(), Counter[Any]()

    def noting(self: Device, module: Module, constants: Any, **more: Any) -> Pipeline:
        if threading.current_thread().name.startswith("vkbackend-compile"):
            threads.add(threading.current_thread().name)
            asked[module.name, tuple(constants.items())] += self is own_device
        return real(self, module, constants, **more)

    monkeypatch.setattr(Device, "pipeline", noting)
    monkeypatch.setattr(compiling, "THREADS", 3)
    before = threading.active_count()
    with load(residual(), device=own_device) as model:
        assert set(asked.values()) == {1}
        assert len(asked) > 3
        assert 1 <= len(threads) <= 3
        assert threading.active_count() == before
        (x,) = inputs_of(residual())
        assert_equal(model.submit(x).result(60), expected_of(residual(), [x]))
        assert set(asked.values()) == {1}  # more slots make no more pipelines


def test_no_memory_for_a_pipeline_is_no_kernels_fault(
    own_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Device, module: Module, *_: Any, **__: Any) -> Pipeline:
        raise OutOfMemoryError("the device is out of memory")

    monkeypatch.setattr(Device, "pipeline", failing)
    before, threads = own_device.live_objects(), threading.active_count()
    with pytest.raises(OutOfMemoryError, match="the device is out of memory"):
        load(residual(), device=own_device)
    gc.collect()
    assert own_device.live_objects() == before
    assert threading.active_count() == threads


def test_a_run_of_nothing_changes_nothing(device: Device, compile_glsl: CompileGlsl) -> None:
    pipeline = device.pipeline(compile_glsl(IN_PLACE), {})
    values = np.arange(COUNT, dtype=np.int32)
    with device.buffer(values.nbytes, access="device") as buffer, device.commands() as commands:
        device.write(buffer, values)
        commands.dispatch_nothing(pipeline, buffer.region())
        commands.run()
        assert np.array_equal(device.read(buffer, values.nbytes).view(np.int32), values)


@pytest.fixture
def eager_helpers(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """Helpers are called at once, and noted: three threads, whatever the machine has."""
    monkeypatch.setattr(compiling, "PATIENCE_S", 0.0)
    monkeypatch.setattr(compiling, "THREADS", 3)
    opened: list[Device] = []
    real = Device.open.__func__  # type: ignore[attr-defined]

    def noting(cls: type[Device], *arguments: Any, **more: Any) -> Device:
        device: Device = real(cls, *arguments, **more)
        opened.append(device)
        return device

    monkeypatch.setattr(Device, "open", classmethod(noting))
    return opened


def test_helpers_leave_nothing_and_change_nothing(
    eager_helpers: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, helped = compiling._run_empty, threading.Event()

    def after_a_helper(device: Device, left: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            assert helped.wait(60)
        real(device, left)
        helped.set()

    monkeypatch.setattr(compiling, "_run_empty", after_a_helper)
    graph = residual()
    (x,) = inputs_of(graph)
    threads = threading.active_count()
    with Device.open(find_device("lavapipe")) as device:
        for _ in range(3):
            helped.clear()
            with load(graph, device=device) as model:
                assert_equal(model(x), expected_of(graph, [x]))
        assert threading.active_count() == threads
        helpers = [helper for helper in eager_helpers if helper is not device]
        assert len(helpers) >= 3
        assert all(helper.live_objects() == {} for helper in helpers)


def test_a_helper_that_fails_is_no_error(
    eager_helpers: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise DeviceError("no second device")

    monkeypatch.setattr(compiling, "_help", failing)
    graph = residual(depth=1, size=8)
    (x,) = inputs_of(graph)
    with Device.open(find_device("lavapipe")) as device, load(graph, device=device) as model:
        assert_equal(model(x), expected_of(graph, [x]))


def test_an_interrupt_ends_the_helpers(
    eager_helpers: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compiling._run_empty

    def interrupted(device: Device, left: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        real(device, left)

    monkeypatch.setattr(compiling, "_run_empty", interrupted)
    threads = threading.active_count()
    with Device.open(find_device("lavapipe")) as device:
        before = device.live_objects()
        with pytest.raises(KeyboardInterrupt):
            load(residual(), device=device)
        gc.collect()
        assert threading.active_count() == threads
        assert not before.keys() - device.live_objects().keys()
        assert "VkBuffer" not in device.live_objects()
