"""The device layer: buffers, pipelines and recorded commands on one Vulkan device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vkbackend import env
from vkbackend.device import choice, selftest_matrices
from vkbackend.device.commands import Commands
from vkbackend.device.context import Context
from vkbackend.device.facts import read_physical_device
from vkbackend.device.instance import Instance
from vkbackend.device.memory import Buffer, Bytes, Region
from vkbackend.device.memory_types import BufferAccess
from vkbackend.device.pipeline import Number, Pipeline, all_constants, pack_constants
from vkbackend.device.pipeline_cache import PipelineCache
from vkbackend.device.queues import QueueUse
from vkbackend.device.transfers import Array, Transfers
from vkbackend.gpu import GpuInfo
from vkbackend.shaders import Module

__all__ = ["Buffer", "Commands", "Device", "Pipeline", "Region", "list_devices"]


def list_devices() -> list[GpuInfo]:
    """Facts of every Vulkan device, fit for use or not, in the loader's order.

    DeviceError without a Vulkan loader.
    """
    instance = Instance(validation=False)
    try:
        return [
            read_physical_device(instance.handle, handle).info
            for handle in instance.physical_devices()
        ]
    finally:
        instance.close()


class Device:
    """An open device. Made by `Device.open`; closed by `close`, by `with`, or when collected."""

    def __init__(self, context: Context) -> None:
        self.info = context.info
        self._context = context
        self._pipelines: dict[tuple[Any, ...], Pipeline] = {}
        self._pipeline_cache = PipelineCache(context)
        self._transfers = Transfers(context)

    @classmethod
    def open(
        cls,
        selector: int | str | None = None,
        *,
        validation: bool | None = None,
        staged: bool = False,
    ) -> Device:
        """Opens a device by its index or a part of its name, or the best one.

        Without a selector VKBACKEND_DEVICE selects, and without a word about validation
        VKBACKEND_VALIDATION decides. `staged` treats any device as a GPU with memory of its own
        (for tests). DeviceError where none fits, listing why.
        """
        origin = ""
        if selector is None and env.DEVICE.read():
            selector, origin = env.DEVICE.read(), env.DEVICE.name
        instance = Instance(env.validation_requested() if validation is None else validation)
        try:
            physical = [
                read_physical_device(instance.handle, handle)
                for handle in instance.physical_devices()
            ]
            candidates = [
                choice.Candidate(device.info, device.queues is not None) for device in physical
            ]
            chosen = physical[choice.choose(candidates, selector, origin)]
            context = Context(instance, chosen, staged=staged)
        except BaseException:
            instance.close()
            raise
        try:
            device = cls(context)
            selftest_matrices.with_proven(device)
            context.raise_messages()
        except BaseException:
            context.close()
            raise
        return device

    def __repr__(self) -> str:
        return f"Device({self.info.name!r})"

    @property
    def maps_memory(self) -> bool:
        """Whether the host sees device memory, so that kernels can use the host's buffers."""
        return self._context.maps_device_memory

    @property
    def identity(self) -> str:
        """Text that differs between devices and between drivers; fit for a file name."""
        return self._context.physical.identity

    def buffer(
        self, size_bytes: int, *, access: BufferAccess, staged: bool = False, shared: bool = False
    ) -> Buffer:
        """A buffer in device memory, or in host memory to upload from or download to.

        Device memory that is the host's own is mapped, unless `staged` wants it as on a GPU with
        memory of its own. Commands for several uses take a `shared` one only. OutOfMemoryError;
        DeviceError beyond the limit of one allocation.
        """
        buffer = Buffer(self._context, size_bytes, access, staged, shared)
        self._context.raise_messages()
        return buffer

    def write(self, buffer: Buffer, data: Any, offset_bytes: int = 0) -> None:
        """Copies an array's bytes into any buffer. Nothing that uses it may be running."""
        self._transfers.write(buffer, data, offset_bytes)

    def read(self, buffer: Buffer, size_bytes: int, offset_bytes: int = 0) -> Bytes:
        """A copy of any buffer's bytes. Nothing that writes it may be running."""
        return self._transfers.read(buffer, size_bytes, offset_bytes)

    def copy(self, target: Array, source: Array) -> None:
        """Host array to host array of the same shape, by several threads where it is large."""
        self._transfers.copy(target, source)

    def pipeline(
        self,
        module: Module,
        constants: Mapping[str, Number],
        *,
        subgroup_size: int | None = None,
    ) -> Pipeline:
        """The pipeline of a module with these specialisation constants; made once, then kept.

        Constants that are not given keep the module's defaults; `subgroup_size` is for modules
        that need a certain one. ShaderError on a wrong name or value, DeviceError when the device
        cannot run it or its compiler fails.
        """
        values = all_constants(module, constants)
        key = (module.digest, pack_constants(module, values), subgroup_size)
        self._context.require_open()
        if key not in self._pipelines:
            # No lock: several threads may compile at once, which is what takes the time.
            cache = self._pipeline_cache.handle
            pipeline = Pipeline(self._context, module, values, subgroup_size, cache)
            if self._pipelines.setdefault(key, pipeline) is not pipeline:
                pipeline.close()  # another thread was first with the same
            self._context.raise_messages()
        return self._pipelines[key]

    def commands(self, use: QueueUse = "compute", *, after: Commands | None = None) -> Commands:
        """An empty list of commands to record, for the queue of that use; only "compute" computes.

        Commands `after` others are submitted together with them, and run when they are done.
        """
        return Commands(self._context, use, after)

    def save_pipeline_cache(self) -> None:
        """Writes the compiled pipelines to disk if there are new ones, where that is possible."""
        self._pipeline_cache.save()

    def live_objects(self) -> dict[str, int]:
        """How many Vulkan objects of each type exist on this device; empty once it is closed."""
        return self._context.live_objects()

    def close(self) -> None:
        """Waits for the device, then frees all that was made on it; a second call does nothing."""
        self._transfers.close()
        self.save_pipeline_cache()
        self._context.close()
        self._context.raise_messages()

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
