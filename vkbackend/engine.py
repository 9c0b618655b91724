"""Engine: one plan on a device: its weights, arena, and calls in flight."""

from __future__ import annotations

import contextlib
import enum
import functools
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from itertools import chain

import numpy as np

from vkbackend.compiling import Kernels
from vkbackend.device import Commands, Device, Pipeline, Region
from vkbackend.errors import DeviceError, InputError, KernelError, OutOfMemoryError
from vkbackend.graph import Array
from vkbackend.layouts import unpack
from vkbackend.ops.base import OFFSET_ALIGNMENT_BYTES, Dispatch, Ref
from vkbackend.plan import Plan, Step, Value
from vkbackend.signature import Signature
from vkbackend.slot import Slot
from vkbackend.weights import Key, WeightStore

BURST_S = 0.002  # of runs in one submission that is timed; and at most so many
BURST_RUNS = 20
RING_DEPTH = 3  # one call's input is uploaded, another computed, a third one's output downloaded


class Timing(enum.Enum):
    """Where time stamps stand in recorded commands."""

    NONE = enum.auto()
    WHOLE = enum.auto()
    STEPS = enum.auto()


class Engine:
    """A plan recorded for a device. Calls in flight take turns on the arena, in the queue's order.

    A plain call has all commands on one queue, which is soonest done. Those submitted go round a
    ring of slots, whose copies overlap with other calls' kernels.
    """

    def __init__(self, plan: Plan, device: Device, weights: WeightStore) -> None:
        self.plan = plan
        self.device = device
        self.signature = Signature.of(plan.graph)
        self._store = weights
        self._lock = threading.Lock()
        self._slots: list[Slot] = []
        self._plain: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        # Without copies all slots are alike, and a call may take any.
        self._ring = self._plain if device.maps_memory else queue.SimpleQueue[Slot]()
        self._slot_limit = RING_DEPTH if self._ring is self._plain else RING_DEPTH + 1
        self._weights: dict[Key, Region] = {}
        self._receipt: list[bytes] = []
        size_bytes = max(plan.arena_size_bytes, OFFSET_ALIGNMENT_BYTES)
        self.arena = device.buffer(size_bytes, access="device")
        try:
            self._dispatches = [step.dispatches() for step in plan.steps]
            self._places = {step.outputs[0]: step.place for step in plan.steps}
            with contextlib.closing(Kernels(device, chain(*self._dispatches))) as self._kernels:
                self._weights, self._receipt = weights.hold(self._packed())
                self._plain.put(self._new_slot())
                self._kernels.finish()
        except BaseException:
            self.close()
            raise

    def _packed(self) -> list[tuple[Key, Array]]:
        return [
            ((index, role), array)
            for index, step in enumerate(self.plan.steps)
            for role, array in step.node.op.pack_weights(step.node, step.choice.candidate).items()
        ]

    def _new_slot(self, *, overlapping: bool = False) -> Slot:
        slot = Slot(self.device, self.plan, self._record, overlapping=overlapping)
        self._slots.append(slot)
        return slot

    def _fill_ring(self) -> None:
        """Makes the ring's slots, when first there is need of them."""
        with self._lock:
            while len(self._slots) < self._slot_limit:
                self._ring.put(self._new_slot(overlapping=True))

    # -- recording -------------------------------------------------------------------------------

    def _record(
        self,
        commands: Commands,
        outside: Callable[[Value], Region],
        timing: Timing = Timing.NONE,
        repeats: int = 1,
    ) -> None:
        if timing is not Timing.NONE:
            commands.timestamp()
        for _ in range(repeats):
            self._record_steps(commands, outside, timing)

    def _record_steps(
        self, commands: Commands, outside: Callable[[Value], Region], timing: Timing
    ) -> None:
        for index, step in enumerate(self.plan.steps):
            for dispatch in self._dispatches[index]:
                bindings = {
                    name: self._bind(ref, index, dispatch, outside)
                    for name, ref in dispatch.bindings.items()
                }
                pipeline = self._pipeline(step, dispatch)
                commands.dispatch(pipeline, bindings, dispatch.push, dispatch.workgroups)
            if timing is Timing.STEPS:
                commands.timestamp()
        if timing is Timing.WHOLE:
            commands.timestamp()

    def _pipeline(self, step: Step, dispatch: Dispatch) -> Pipeline:
        try:
            return self._kernels.pipeline(dispatch)
        except OutOfMemoryError:
            raise
        except DeviceError as error:
            algorithm = step.choice.candidate.algorithm
            message = f"{step.node.label}: {algorithm} does not compile here: {error}"
            raise KernelError(message, step.node.name, algorithm) from error

    def _bind(
        self, ref: Ref, index: int, dispatch: Dispatch, outside: Callable[[Value], Region]
    ) -> Region:
        step = self.plan.steps[index]
        if ref.kind == "weights":
            return self._weights[index, ref.role]
        if ref.kind == "scratch":
            size = step.choice.candidate.work.scratch_bytes - ref.offset_bytes
            offset = self.plan.scratch_offsets[index] + ref.offset_bytes
            return Region(self.arena, offset, size)
        value = (step.inputs if ref.kind == "input" else step.outputs)[ref.index]
        owner = self.plan.storage.get(value, value)
        if owner in self.plan.offsets:
            size = self.plan.value_size_bytes(owner)
            place = step.place if ref.kind == "output" else step.source
            part = place.first_word if place else None
            whole = Region(self.arena, self.plan.offsets[owner], size, part)
        else:
            whole = outside(owner)
        if dispatch.images is None:
            return whole
        first, count = dispatch.images
        image_bytes = whole.size_bytes // self.plan.graph.types[value.tensor].shape[0]
        offset = whole.offset_bytes + first * image_bytes
        return Region(whole.buffer, offset, count * image_bytes)

    # -- calling ---------------------------------------------------------------------------------

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs for inputs that the signature has verified."""
        slot = self._plain.get()
        try:
            slot.write(self.plan.inputs, arrays)
            slot.commands.submit()
            return self._finish(slot)
        finally:
            slot.commands.wait()  # an interrupt may have left them running
            self._plain.put(slot)

    def submit(self, arrays: Sequence[Array], executor: Executor) -> Future[list[Array]]:
        """As `run`, but returns once the inputs are copied; the executor waits for the outputs.

        Waits itself while the whole ring is in flight.
        """
        self._fill_ring()
        slot = self._ring.get()
        try:
            slot.write(self.plan.inputs, arrays)
            slot.commands.submit()
            future = executor.submit(self._finish, slot)
        except BaseException:
            slot.commands.wait()
            self._ring.put(slot)
            raise
        future.add_done_callback(lambda _: self._ring.put(slot))
        return future

    def _finish(self, slot: Slot) -> list[Array]:
        slot.commands.wait()
        return slot.read(self.signature.outputs_of(self.plan.outputs))

    # -- looking inside --------------------------------------------------------------------------

    def profile(
        self, arrays: Sequence[Array], runs: int, *, per_step: bool = True
    ) -> list[list[float]] | None:
        """GPU microseconds for each run: [runs][steps], or [runs][1]; None without timestamps."""
        with contextlib.closing(Stopwatch(self, arrays, per_step=per_step, burst_s=0)) as stopwatch:
            times = [stopwatch.run() for _ in range(runs)]
        found = [entry for entry in times if entry is not None]
        return found if len(found) == runs else None

    def timed_slot(self, arrays: Sequence[Array], *, per_step: bool, repeats: int = 1) -> Slot:
        """A slot of its own with time stamps, and inputs written; its commands run all steps so
        many times.
        """
        timing = Timing.STEPS if per_step else Timing.WHOLE
        record = functools.partial(self._record, timing=timing, repeats=repeats)
        slot = Slot(self.device, self.plan, record)
        try:
            slot.write(self.plan.inputs, arrays)
        except BaseException:
            slot.close()
            raise
        return slot

    def read(self, value: Value) -> Array:
        """A tensor of the last call in NCHW order; InputError where the plan does not place it."""
        owner = self.plan.storage.get(value, value)
        if owner not in self.plan.offsets:
            raise InputError(f"tensor {value.tensor!r} in layout {value.layout} is not kept")
        tensor = self.plan.graph.types[value.tensor]
        size, offset = self.plan.value_size_bytes(owner), self.plan.offsets[owner]
        raw = self.device.read(self.arena, size, offset)
        if tensor.quantization is None:
            return unpack(raw.view(np.float32), value.layout, tensor.shape)
        place = self._places.get(value)
        shape = tensor.shape if place is None else self.plan.graph.types[owner.tensor].shape
        stored = unpack(raw.view(np.int8), value.layout, shape).astype(np.int32)
        if place is not None:
            stored = stored[:, 4 * place.first_word :][:, : tensor.shape[1]]
        return (stored - tensor.quantization.storage_offset).astype(tensor.dtype)

    def close(self) -> None:
        """Frees everything; a second call does nothing."""
        for slot in self._slots:
            slot.close()
        self._slots.clear()
        self.arena.close()
        self._store.release(self._receipt)
        self._receipt = []


class Stopwatch:
    """An engine's plan recorded with time stamps, over inputs that stay.

    One submission runs it many times, for `burst_s` seconds or so: between submissions a GPU
    pauses and lowers its clocks, and short kernels seem to take two or three times as long.
    """

    def __init__(
        self,
        engine: Engine,
        arrays: Sequence[Array],
        *,
        per_step: bool = True,
        burst_s: float = BURST_S,
    ) -> None:
        self._step_count = len(engine.plan.steps) if per_step else 1
        self._slot = engine.timed_slot(arrays, per_step=per_step)
        try:
            repeats = self._repeats(burst_s) if burst_s else 1
            if repeats > 1:
                slot = engine.timed_slot(arrays, per_step=per_step, repeats=repeats)
                self._slot, once = slot, self._slot
                once.close()
        except BaseException:
            self.close()
            raise

    def _repeats(self, burst_s: float) -> int:
        """How many runs fit a burst."""
        # The second run tells, since drivers and caches have work of their own in the first.
        for _ in range(2):
            once_s = sum(self.run() or ()) / 1e6
            if not 0 < once_s < burst_s:
                return 1
        return min(BURST_RUNS, int(burst_s / once_s))

    def run(self) -> list[float] | None:
        """GPU microseconds of every step, or of all together, medians of the submission's runs;
        None without timestamps.
        """
        self._slot.commands.run()
        stamps = self._slot.commands.timestamps_us()
        if stamps is None:
            return None
        runs = np.diff(stamps).reshape(-1, self._step_count)
        return [float(time_us) for time_us in np.median(runs, axis=0)]

    def run_warm(self) -> list[float] | None:
        """As `run`, after a run that warms up: caches, clocks, memory that nobody has touched."""
        self.run()
        return self.run()

    def close(self) -> None:
        """Frees its buffers."""
        self._slot.close()
