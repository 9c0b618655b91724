"""Model: a plan on a device, recorded once, called many times. `load` makes one."""

from __future__ import annotations

import queue
import threading
import warnings
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vkbackend import fileformat, shaders
from vkbackend.device import Buffer, Commands, Device, Pipeline, Region
from vkbackend.device.selftest import exactness
from vkbackend.errors import (
    DeviceError,
    InputError,
    KernelError,
    OutOfMemoryError,
    ResolveError,
)
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, Graph
from vkbackend.layouts import unpack
from vkbackend.ops.base import Dispatch, Ref
from vkbackend.plan import Plan, Step, Value
from vkbackend.resolve import resolve
from vkbackend.schedule import ALIGNMENT_BYTES
from vkbackend.signature import Signature
from vkbackend.slot import Slot

SLOTS = 2  # one call runs while the next one's input is written


def load(
    network: str | Path | Graph,
    *,
    device: Device | int | str | None = None,
    gpu: GpuInfo | str | None = None,
    policy: str = "auto",
    force: str | Sequence[str] | None = None,
    validation: bool | None = None,
    keep_all: bool = False,
    guard_bytes: int = 0,
) -> Model:
    """A network (.vkb file or Graph) resolved for a device, uploaded and recorded.

    `device` is an index, a part of a name, or an open Device; None takes the best. `gpu` runs the
    plan of another GPU here, where the limits allow. Raises VkBackendError's children.
    """
    graph = network if isinstance(network, Graph) else fileformat.read(network)
    owned = not isinstance(device, Device)
    opened = device if isinstance(device, Device) else Device.open(device, validation=validation)
    try:
        _warn_if_inexact(opened)

        def plan_without(excluded: Collection[tuple[str, str]]) -> Plan:
            return resolve(
                graph,
                opened.info if gpu is None else gpu,
                policy=policy,
                force=force,
                keep_all=keep_all,
                guard_bytes=guard_bytes,
                excluded=excluded,
            )

        model = _first_that_compiles(plan_without, opened, owned)
    except BaseException:
        if owned:
            opened.close()
        raise
    opened.save_pipeline_cache()
    return model


def _first_that_compiles(
    plan_without: Callable[[Collection[tuple[str, str]]], Plan], device: Device, owned: bool
) -> Model:
    """A model whose every kernel the driver takes: drivers of phones fail at single ones."""
    excluded: dict[tuple[str, str], KernelError] = {}
    while True:
        try:
            plan = plan_without(excluded)
        except ResolveError:
            if excluded:
                raise list(excluded.values())[-1] from None
            raise
        try:
            return Model(plan, device, owns_device=owned)
        except KernelError as error:
            excluded[error.node, error.algorithm] = error
            warnings.warn(f"{error}: taking the next best way", RuntimeWarning, stacklevel=4)


def _warn_if_inexact(device: Device) -> None:
    verdict = exactness(device)
    if not verdict.exact:
        warnings.warn(
            f"{device.info.name} does not compute exactly, results may differ from other devices: "
            + "; ".join(verdict.failures),
            RuntimeWarning,
            stacklevel=3,
        )


class Model:
    """A network on a device: call it with NumPy arrays.

    Several threads may call it; calls are serialised. A context manager; also cleans up when
    collected.
    """

    def __init__(self, plan: Plan, device: Device, *, owns_device: bool = False) -> None:
        self.plan = plan
        self.device = device
        self.signature = Signature.of(plan.graph)
        self._owns_device = False
        self._lock = threading.Lock()
        self._slots: list[Slot] = []
        self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        self._executor: ThreadPoolExecutor | None = None
        self._buffers: list[Buffer] = []
        self._weights: dict[tuple[int, str], Region] = {}
        self._dispatches: list[Sequence[Dispatch]] = []
        self._closed = False
        try:
            self._upload_weights()
            self._arena = self._new_buffer(max(plan.arena_size_bytes, ALIGNMENT_BYTES))
            self._dispatches = [s.node.op.lower(s.node, s.choice.candidate) for s in plan.steps]
            self._add_slot()
        except BaseException:
            self.close()
            raise
        # Only a finished model closes the device: after a failure the caller tries another plan.
        self._owns_device = owns_device

    # -- setting up ------------------------------------------------------------------------------

    def _new_buffer(self, size_bytes: int) -> Buffer:
        buffer = self.device.buffer(size_bytes, access="device")
        self._buffers.append(buffer)
        return buffer

    def _upload_weights(self) -> None:
        """Packs every step's constants into one buffer, a node at a time."""
        packed = []
        offset = 0
        for index, step in enumerate(self.plan.steps):
            for role, array in step.node.op.pack_weights(step.node, step.choice.candidate).items():
                packed.append((index, role, array, offset))
                offset += -(-array.nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        if not packed:
            return
        buffer = self._new_buffer(offset)
        for index, role, array, start in packed:
            self.device.write(buffer, array, start)
            self._weights[index, role] = Region(buffer, start, array.nbytes)

    def _add_slot(self, *, timed: bool = False) -> Slot:
        slot = Slot(self.device, self.plan, self._record, timed=timed)
        if not timed:
            self._slots.append(slot)
            self._free.put(slot)
        return slot

    def _record(self, commands: Commands, outside: Callable[[Value], Region], timed: bool) -> None:
        if timed:
            commands.timestamp()
        for index, step in enumerate(self.plan.steps):
            for dispatch in self._dispatches[index]:
                pipeline = self._pipeline(step, dispatch)
                bindings = {
                    name: self._bind(ref, index, step, outside)
                    for name, ref in dispatch.bindings.items()
                }
                commands.dispatch(pipeline, bindings, dispatch.push, dispatch.workgroups)
            if timed:
                commands.timestamp()

    def _pipeline(self, step: Step, dispatch: Dispatch) -> Pipeline:
        module = shaders.load(dispatch.shader)
        try:
            return self.device.pipeline(module, dispatch.constants)
        except OutOfMemoryError:
            raise
        except DeviceError as error:
            algorithm = step.choice.candidate.algorithm
            message = f"{step.node.label}: {algorithm} does not compile here: {error}"
            raise KernelError(message, step.node.name, algorithm) from error

    def _bind(self, ref: Ref, index: int, step: Step, outside: Callable[[Value], Region]) -> Region:
        if ref.kind == "weights":
            return self._weights[index, ref.role]
        if ref.kind == "scratch":
            size = step.choice.candidate.work.scratch_bytes
            return Region(self._arena, self.plan.scratch_offsets[index], size)
        value = (step.inputs if ref.kind == "input" else step.outputs)[ref.index]
        owner = self.plan.storage.get(value, value)
        if owner in self.plan.offsets:
            size = self.plan.value_size_bytes(owner)
            return Region(self._arena, self.plan.offsets[owner], size)
        return outside(owner)

    # -- calling ---------------------------------------------------------------------------------

    def __call__(self, *inputs: Array, **named: Array) -> Any:
        """Runs the network. One array per input, by position or name, of exactly the declared
        dtype and shape; one array back, or a dict by name where there are several outputs.

        Raises InputError on anything else than declared, DeviceError where the device fails.
        """
        arrays = self.signature.arrange(inputs, named)
        slot = self._take_slot()
        try:
            slot.write(self.plan.inputs, arrays)
            return self._finish(slot)
        finally:
            self._free.put(slot)

    def submit(self, *inputs: Array, **named: Array) -> Future[Any]:
        """As a call, but returns at once: the input has been copied and may be changed.

        Up to two calls are in flight; a third waits until one is done.
        """
        arrays = self.signature.arrange(inputs, named)
        self._require_open()
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, "vkbackend")
            while len(self._slots) < SLOTS:
                self._add_slot()
        slot = self._take_slot()
        try:
            slot.write(self.plan.inputs, arrays)
            future = self._executor.submit(self._finish, slot)
        except BaseException:
            self._free.put(slot)
            raise
        future.add_done_callback(lambda _: self._free.put(slot))
        return future

    def _take_slot(self) -> Slot:
        self._require_open()
        return self._free.get()

    def _require_open(self) -> None:
        if self._closed:
            raise DeviceError("this model is closed: load it again")

    def _finish(self, slot: Slot) -> Any:
        with self._lock:
            slot.commands.run()
        arrays = slot.read(self.signature.outputs_of(self.plan.outputs))
        names = list(self.signature.outputs)
        return arrays[0] if len(names) == 1 else dict(zip(names, arrays, strict=True))

    # -- looking inside --------------------------------------------------------------------------

    def profile(self, inputs: Sequence[Array], runs: int = 30) -> list[list[float]] | None:
        """GPU microseconds of every step for each run: [runs][steps]; None without timestamps."""
        arrays = self.signature.arrange(tuple(inputs), {})
        slot = self._add_slot(timed=True)
        times: list[list[float]] = []
        try:
            slot.write(self.plan.inputs, arrays)
            with self._lock:
                for _ in range(runs):
                    slot.commands.run()
                    stamps = slot.commands.timestamps_us()
                    if stamps is None:
                        return None
                    times.append([float(step) for step in np.diff(stamps)])
        finally:
            slot.close()
        return times

    def read(self, value: Value) -> Array:
        """A tensor of the last call in NCHW order; needs a plan resolved with keep_all.

        Raises InputError for a value that the plan does not place.
        """
        owner = self.plan.storage.get(value, value)
        if owner not in self.plan.offsets:
            raise InputError(f"tensor {value.tensor!r} in layout {value.layout} is not kept")
        tensor = self.plan.graph.types[value.tensor]
        raw = self.device.read(
            self._arena, self.plan.value_size_bytes(owner), self.plan.offsets[owner]
        )
        if tensor.quantization is None:
            return unpack(raw.view(np.float32), value.layout, tensor.shape)
        stored = unpack(raw.view(np.int8), value.layout, tensor.shape).astype(np.int32)
        return (stored - tensor.quantization.storage_offset).astype(tensor.dtype)

    @property
    def arena(self) -> Buffer:
        """The memory of all activations and scratch (for tests that look around tensors)."""
        return self._arena

    @property
    def device_memory_bytes(self) -> int:
        """Bytes of weights, activations and scratch on the device."""
        return sum(buffer.size_bytes for buffer in self._buffers)

    # -- ending ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Waits for calls in flight and frees everything; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._executor is not None:
            self._executor.shutdown(wait=True)
        for slot in self._slots:
            slot.close()
        for buffer in self._buffers:
            buffer.close()
        if self._owns_device:
            self.device.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
