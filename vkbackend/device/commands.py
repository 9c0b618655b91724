"""Commands: recorded once, replayed many times, with barriers only where data needs them."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence

from vkbackend import vk
from vkbackend.device import recording
from vkbackend.device.context import Context, Owner
from vkbackend.device.memory import Region
from vkbackend.device.pipeline import Number, Pipeline
from vkbackend.device.queues import QueueUse
from vkbackend.device.recording import Copy, Dispatch, Step, Timestamp
from vkbackend.errors import DeviceError, InputError

_SLICE_NS = 200_000_000  # waits are cut up, so that Ctrl-C is heard between two pieces
_TIMEOUT = 2  # VK_TIMEOUT, written out: looking it up takes a microsecond of every run


class Commands:
    """A list of dispatches and copies, recorded by `end` and run by every `submit`.

    Used by one thread at a time; several of them may be in flight on one device, those for the
    same queue in the order of their submission.
    """

    def __init__(
        self, context: Context, use: QueueUse = "compute", after: Commands | None = None
    ) -> None:
        self.context = context
        self._queue = context.queues[use]
        self._after = after
        self._steps: list[Step] = []
        self._timestamp_count = 0
        self._recorded: recording.Recorded | None = None
        self._is_pending = False
        self._is_broken = False
        self._has_run = False
        self._owner = Owner(context)
        self._finalizer = weakref.finalize(self, self._owner.close)

    # -- recording -------------------------------------------------------------------------------

    def dispatch(
        self,
        pipeline: Pipeline,
        bindings: Mapping[str, Region],
        push: Mapping[str, Number | Sequence[Number]],
        workgroups: tuple[int, int, int],
    ) -> None:
        """Adds a run of a pipeline; buffers and push constants by the names in the shader.

        DeviceError when a limit of the device is exceeded, ShaderError on a wrong name.
        """
        self._require_recording()
        if self._queue.only_copies:
            raise DeviceError(f"{pipeline.name}: these commands only copy")
        pipeline.check_bindings(bindings)
        info = self.context.info
        limits = info.max_workgroup_count
        if min(workgroups) < 1 or any(a > b for a, b in zip(workgroups, limits, strict=True)):
            raise DeviceError(
                f"{pipeline.name}: {workgroups} workgroups, and {info.name} takes 1 to {limits} "
                "per axis"
            )
        for name, region in bindings.items():
            self._check_region(region, f"{pipeline.name}: buffer {name!r}", is_bound=True)
        regions = tuple(bindings[name] for name in pipeline.interface.bindings)
        block = pipeline.pack_push_constants(push)
        x, y, z = (int(count) for count in workgroups)
        self._steps.append(Dispatch(pipeline, regions, block, (x, y, z)))

    def dispatch_nothing(self, pipeline: Pipeline, region: Region) -> None:
        """Adds a run without workgroups, for drivers that compile when a pipeline first runs.

        The region stands for all buffers.
        """
        self._require_recording()
        regions = (region,) * len(pipeline.interface.bindings)
        block = bytes(pipeline.interface.push_constants_size_bytes)
        self._steps.append(Dispatch(pipeline, regions, block, (0, 1, 1)))

    def copy(self, source: Region, destination: Region) -> None:
        """Adds a copy between regions of the same size that do not overlap."""
        self._require_recording()
        for region in (source, destination):
            self._check_region(region, "a copy", is_bound=False)
        if source.size_bytes != destination.size_bytes:
            raise InputError(
                f"a copy of {source.size_bytes} bytes into a region of {destination.size_bytes}"
            )
        distance = abs(source.offset_bytes - destination.offset_bytes)
        if source.buffer is destination.buffer and distance < source.size_bytes:
            raise InputError(f"a copy between overlapping regions of the {source.buffer}")
        self._steps.append(Copy(source, destination))

    def timestamp(self) -> int:
        """Adds a point in time, when all steps before it are done: its index in timestamps_us."""
        self._require_recording()
        self._timestamp_count += 1
        self._steps.append(Timestamp(self._timestamp_count - 1))
        return self._timestamp_count - 1

    def end(self) -> None:
        """Records the steps; they cannot be changed after. A second call does nothing."""
        if self._recorded is None:
            self._require_recording()
            try:
                self._recorded = recording.record(
                    self._owner, self._queue, self._steps, self._timestamp_count, self._earlier()
                )
            except BaseException:
                self.close()
                raise
            self.context.raise_messages()

    def _earlier(self) -> recording.Recorded | None:
        """What must be done before these commands begin."""
        if self._after is None:
            return None
        self._after.end()
        return self._after._recorded

    @property
    def barrier_count(self) -> int:
        """How many barriers stand between the recorded steps."""
        return 0 if self._recorded is None else self._recorded.barrier_count

    def _require_recording(self) -> None:
        self.context.require_open()
        if self._finalizer.alive and self._recorded is None:
            return
        state = "recorded" if self._finalizer.alive else "closed"
        raise DeviceError(f"these commands are {state} and take no more steps: make new ones")

    def _check_region(self, region: Region, what: str, *, is_bound: bool) -> None:
        info = self.context.info
        region.require_inside()
        region.buffer.require_open()
        if region.buffer.context is not self.context:
            raise DeviceError(f"{what}: the {region.buffer} belongs to another device")
        if not is_bound:
            return
        alignment = info.min_storage_buffer_offset_alignment_bytes
        if region.offset_bytes % alignment:
            raise DeviceError(
                f"{what} begins at byte {region.offset_bytes}, and {info.name} needs a multiple "
                f"of {alignment}"
            )
        if region.size_bytes > info.max_storage_buffer_range_bytes:
            raise DeviceError(
                f"{what} has {region.size_bytes} bytes, and a shader on {info.name} sees at most "
                f"{info.max_storage_buffer_range_bytes} at once"
            )

    # -- running ---------------------------------------------------------------------------------

    def submit(self) -> None:
        """Hands the commands to the device and returns at once; `end` is called where needed."""
        if self._recorded is None:
            self.end()
        recorded, context = self._recorded, self.context
        assert recorded is not None
        lifetimes = context.lifetimes
        is_free = not self._is_pending and not self._is_broken
        if not is_free or not lifetimes.objects.keys() >= recorded.needs:
            self._complain_of_submit(recorded)
        with context.queue_lock:
            for queue, info, fence in recorded.submissions:
                result = recorded.queue_submit(queue, 1, info, fence)
                if result:
                    self._fail(result)
            lifetimes.busy.add(recorded.fence_key)
        self._is_pending = True
        if context.messages:
            context.raise_messages()

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits until the device is done with what was submitted, without a limit by default.

        DeviceError when the time is over (the work goes on) or the device was lost.
        """
        recorded, context = self._recorded, self.context
        if recorded is None or not self._is_pending:
            return
        if recorded.fence_key not in context.lifetimes.objects:
            self._require_alive()
        wait_ns = _SLICE_NS if timeout_s is None else min(_SLICE_NS, int(timeout_s * 1e9))
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            result = recorded.wait_for_fences(context.handle, 1, recorded.fences, 1, wait_ns)
            if result != _TIMEOUT:
                break
            if end_s is not None:
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    raise DeviceError(f"{context.info.name} is not done after {timeout_s} s")
                wait_ns = min(_SLICE_NS, int(left_s * 1e9) + 1)
        self._is_pending = False
        context.lifetimes.busy.discard(recorded.fence_key)
        result = result or recorded.reset_fences(context.handle, 1, recorded.fences)
        if result:
            vk.check(result, f"waiting for {context.info.name}")
        self._has_run = True
        if context.messages:
            context.raise_messages()

    def run(self, timeout_s: float | None = None) -> None:
        """Submits and waits."""
        self.submit()
        self.wait(timeout_s)

    def timestamps_us(self) -> list[float] | None:
        """Microseconds of each timestamp since the first, in the last run.

        None where the device cannot tell time; DeviceError before the first run is over.
        """
        if not self._has_run or self._is_pending or self._recorded is None:
            raise DeviceError("these commands have no times yet: run them first")
        self._require_alive()
        return self._recorded.timestamps_us(self.context)

    def _fail(self, result: int) -> None:
        """Part of the commands may run, and signal what nobody will wait for any more."""
        self._is_broken = self._after is not None
        self.context.lifetimes.wait_idle()
        vk.check(result, f"submitting work to {self.context.info.name}")

    def _complain_of_submit(self, recorded: recording.Recorded) -> None:
        self._require_alive()
        for buffer in recorded.buffers:
            buffer.require_open()
        if self._is_broken:
            raise DeviceError("these commands failed half-way: make new ones")
        raise DeviceError("these commands are already running: wait for them before the next run")

    def _require_alive(self) -> None:
        self.context.require_open()
        if self._owner.is_closed:
            raise DeviceError("these commands are closed")
        if self._after is not None:
            self._after._require_alive()

    def close(self) -> None:
        """Frees what was recorded, once the device is done with it; a second call does nothing."""
        self._finalizer()

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
