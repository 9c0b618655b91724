"""One call in flight: its own input and output buffers, and the recorded commands of a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vkbackend.device import Buffer, Commands, Device, Region
from vkbackend.device.memory_types import BufferAccess
from vkbackend.graph import Array
from vkbackend.plan import Plan, Value

Record = Callable[[Commands, Callable[[Value], Region]], None]


class Slot:
    """Buffers for the inputs and outputs of a plan, and its commands recorded over them.

    Where device memory is the host's own, kernels read and write these buffers directly;
    elsewhere copies to and from device memory are part of the commands.
    """

    def __init__(self, device: Device, plan: Plan, record: Record) -> None:
        self._device = device
        self._host: dict[Value, Buffer] = {}
        self._on_device: dict[Value, Buffer] = {}
        self._buffers: list[Buffer] = []
        self.commands = device.commands()
        try:
            self._allocate(plan)
            self._record(plan, record)
        except BaseException:
            self.close()
            raise

    def _allocate(self, plan: Plan) -> None:
        for value in plan.inputs:
            self._add(value, plan.value_size_bytes(value), "upload")
        for value in plan.outputs:
            if value not in self._host:
                self._add(value, plan.value_size_bytes(value), "download")

    def _add(self, value: Value, size_bytes: int, access: BufferAccess) -> None:
        host = self._new_buffer(size_bytes, access)
        direct = self._device.maps_memory
        self._host[value] = host
        self._on_device[value] = host if direct else self._new_buffer(size_bytes, "device")

    def _new_buffer(self, size_bytes: int, access: BufferAccess) -> Buffer:
        buffer = self._device.buffer(size_bytes, access=access)
        self._buffers.append(buffer)
        return buffer

    def region(self, value: Value) -> Region:
        """Where kernels read or write an input or output."""
        return self._on_device[value].region()

    def _record(self, plan: Plan, record: Record) -> None:
        for value in plan.inputs:
            if self._on_device[value] is not self._host[value]:
                self.commands.copy(self._host[value].region(), self.region(value))
        record(self.commands, self.region)
        for value in plan.outputs:
            if self._on_device[value] is not self._host[value] and value not in plan.inputs:
                self.commands.copy(self.region(value), self._host[value].region())
        self.commands.end()

    def write(self, values: Sequence[Value], arrays: Sequence[Array]) -> None:
        """Copies the inputs into their buffers."""
        for value, array in zip(values, arrays, strict=True):
            buffer = self._host[value]
            view = buffer.view()[: array.nbytes].view(array.dtype).reshape(array.shape)
            np.copyto(view, array)
            buffer.flush(0, array.nbytes)

    def read(self, wanted: Mapping[Value, tuple[tuple[int, ...], str]]) -> list[Array]:
        """Copies of the outputs, with their shapes and dtypes."""
        arrays = []
        for value, (shape, dtype) in wanted.items():
            buffer = self._host[value]
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            buffer.invalidate(0, count)
            arrays.append(buffer.view()[:count].view(dtype).reshape(shape).copy())
        return arrays

    def close(self) -> None:
        """Frees everything; a second call does nothing."""
        self.commands.close()
        for buffer in self._buffers:
            buffer.close()
