"""The pipelines of a plan, compiled by several threads while other parts of it are prepared."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from vkbackend import shaders
from vkbackend.device import Device, Pipeline
from vkbackend.gpu import Family
from vkbackend.ops.base import Dispatch
from vkbackend.shaders import Module

THREADS = min(8, os.cpu_count() or 1)
PATIENCE_S = 0.1  # what lavapipe has compiled before takes it less, all kernels together


@dataclass(frozen=True)
class Kernel:
    """What a pipeline is made of."""

    module: Module
    constants: dict[str, Any]
    subgroup_size: int | None

    def make(self, device: Device) -> Pipeline:
        """The pipeline on a device; DeviceError where its compiler fails."""
        return device.pipeline(self.module, self.constants, subgroup_size=self.subgroup_size)


class Kernels:
    """The pipelines of some dispatches. Compiling begins at once, in threads of its own."""

    def __init__(self, device: Device, dispatches: Iterable[Dispatch]) -> None:
        """Raises ShaderError where a module is missing."""
        self._device = device
        self._kernels = {
            _key(d): Kernel(shaders.load(d.shader), dict(d.constants), d.subgroup_size)
            for d in dispatches
        }
        self._made: dict[Any, Future[Pipeline]] = {}
        self._threads = ThreadPoolExecutor(THREADS, "vkbackend-compile")
        for key, kernel in self._kernels.items():
            self._made[key] = self._threads.submit(kernel.make, device)

    def pipeline(self, dispatch: Dispatch) -> Pipeline:
        """The dispatch's pipeline, when it is there; DeviceError where its compiler fails."""
        return self._made[_key(dispatch)].result()

    def finish(self) -> None:
        """Waits for what is still compiling, and has late compilers do their work now."""
        wait(self._made.values())
        if self._device.info.family is Family.LAVAPIPE and len(self._kernels) > 1:
            _compile_late(self._device, list(self._kernels.values()), self._threads)

    def close(self) -> None:
        """Ends the threads; the pipelines stay with the device."""
        self._threads.shutdown(cancel_futures=True)


def _key(dispatch: Dispatch) -> Any:
    return dispatch.shader, tuple(dispatch.constants.items()), dispatch.subgroup_size


def _compile_late(device: Device, kernels: list[Kernel], threads: ThreadPoolExecutor) -> None:
    """Makes lavapipe compile, on several cores, what it would compile in the first call on one.

    It compiles when a kernel is first run, in the one thread of a device, and keeps the result on
    disk for all. So other devices, opened for this, share the work where there is much of it.
    """
    # The largest first, so that nobody is left alone with one of them in the end.
    left = deque(sorted(kernels, key=lambda kernel: -len(kernel.module.spirv)))
    helpers: list[Future[None]] = []

    def call_helpers() -> None:
        helpers.extend(threads.submit(_help, device.info.name, left) for _ in range(THREADS - 1))

    timer = threading.Timer(PATIENCE_S, call_helpers)
    timer.start()
    try:
        _run_empty(device, left)
    finally:
        left.clear()
        timer.cancel()
        timer.join()
        wait(helpers)


def _help(device_name: str, left: deque[Kernel]) -> None:
    if left:
        with Device.open(device_name, validation=False) as device:
            _run_empty(device, left)


def _run_empty(device: Device, left: deque[Kernel]) -> None:
    """Runs kernels over nothing until none is left."""
    with device.buffer(256, access="device") as buffer:
        while True:
            try:
                kernel = left.popleft()
            except IndexError:
                return
            with device.commands() as commands:
                commands.dispatch_nothing(kernel.make(device), buffer.region())
                commands.run()
