"""One call in flight: its own input and output buffers, and the recorded commands of a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vkbackend.device import Buffer, Commands, Device, Region
from vkbackend.device.memory_types import BufferAccess
from vkbackend.device.queues import QueueUse
from vkbackend.graph import Array
from vkbackend.plan import Plan, Value

Record = Callable[[Commands, Callable[[Value], Region]], None]


class Slot:
    """Buffers for the inputs and outputs of a plan, and its commands recorded over them.

    Where device memory is the host's own, kernels read and write these buffers directly;
    elsewhere copies to and from device memory are part of the commands. An `overlapping` slot has
    them on queues of their own, so that other slots' kernels run meanwhile.
    """

    def __init__(
        self, device: Device, plan: Plan, record: Record, *, overlapping: bool = False
    ) -> None:
        self._device = device
        self._plan = plan
        self._overlapping = overlapping and not device.maps_memory
        self._host: dict[Value, Buffer] = {}
        self._on_device: dict[Value, Buffer] = {}
        self._buffers: list[Buffer] = []
        self._chain: list[Commands] = []
        try:
            self._allocate()
            if self._overlapping:
                self._record_overlapping(record)
            else:
                self._record_together(record)
        except BaseException:
            self.close()
            raise

    @property
    def commands(self) -> Commands:
        """What takes a call from the inputs in their buffers to the outputs in theirs."""
        return self._chain[-1]

    def _allocate(self) -> None:
        for value in self._plan.inputs:
            self._add(value, "upload")
        for value in self._plan.outputs:
            if value not in self._host:
                self._add(value, "download")

    def _add(self, value: Value, access: BufferAccess) -> None:
        size_bytes = self._plan.value_size_bytes(value)
        host = self._new_buffer(size_bytes, access)
        self._host[value] = self._on_device[value] = host
        if not self._device.maps_memory:
            on_device = self._new_buffer(size_bytes, "device", shared=self._overlapping)
            self._on_device[value] = on_device

    def _new_buffer(self, size_bytes: int, access: BufferAccess, *, shared: bool = False) -> Buffer:
        buffer = self._device.buffer(size_bytes, access=access, shared=shared)
        self._buffers.append(buffer)
        return buffer

    def region(self, value: Value) -> Region:
        """Where kernels read or write an input or output."""
        return self._on_device[value].region()

    def _commands(self, use: QueueUse) -> Commands:
        """New commands, which follow those that there are."""
        after = self._chain[-1] if self._chain else None
        self._chain.append(self._device.commands(use, after=after))
        return self._chain[-1]

    def _record_together(self, record: Record) -> None:
        commands = self._commands("compute")
        if not self._device.maps_memory:
            self._upload(commands)
        record(commands, self.region)
        if not self._device.maps_memory:
            self._download(commands)
        commands.end()

    def _record_overlapping(self, record: Record) -> None:
        self._upload(self._commands("upload"))
        record(self._commands("compute"), self.region)
        self._download(self._commands("download"))
        self.commands.end()

    def _upload(self, commands: Commands) -> None:
        for value in self._plan.inputs:
            commands.copy(self._host[value].region(), self.region(value))

    def _download(self, commands: Commands) -> None:
        for value in self._plan.outputs:
            if value not in self._plan.inputs:
                commands.copy(self.region(value), self._host[value].region())

    def write(self, values: Sequence[Value], arrays: Sequence[Array]) -> None:
        """Copies the inputs into their buffers."""
        for value, array in zip(values, arrays, strict=True):
            buffer = self._host[value]
            view = buffer.view()[: array.nbytes].view(array.dtype).reshape(array.shape)
            self._device.copy(view, array)
            buffer.flush(0, array.nbytes)

    def read(self, wanted: Mapping[Value, tuple[tuple[int, ...], str]]) -> list[Array]:
        """Copies of the outputs, with their shapes and dtypes."""
        arrays = []
        for value, (shape, dtype) in wanted.items():
            buffer = self._host[value]
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            buffer.invalidate(0, count)
            array = np.empty(shape, dtype)
            self._device.copy(array, buffer.view()[:count].view(dtype).reshape(shape))
            arrays.append(array)
        return arrays

    def close(self) -> None:
        """Frees everything; a second call does nothing."""
        for commands in reversed(self._chain):
            commands.close()
        for buffer in self._buffers:
            buffer.close()
