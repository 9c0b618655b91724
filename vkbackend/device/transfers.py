"""Host bytes into any buffer and back; through a staging buffer where the host does not see it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from vkbackend.device.commands import Commands
from vkbackend.device.context import Context
from vkbackend.device.memory import Buffer, Bytes, Region

STAGING_BYTES = 64 << 20


class Transfers:
    """Copies between the host and the buffers of one device; keeps two staging buffers for it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._staging: dict[str, Buffer] = {}

    def write(self, buffer: Buffer, data: Any, offset_bytes: int) -> None:
        """Copies all bytes of an array (or bytes) into the buffer, and returns when they are in."""
        source = as_bytes(data)
        if not source.size:
            return
        target = buffer.region(offset_bytes, source.size)
        buffer.require_open()
        if buffer.is_mapped:
            buffer.view()[offset_bytes : offset_bytes + source.size] = source
            buffer.flush(offset_bytes, source.size)
            return
        with self._lock:
            staging = self._staging_buffer("upload", source.size)
            for begin, part, staged in _chunks(target, staging):
                staging.view()[: part.size_bytes] = source[begin : begin + part.size_bytes]
                staging.flush(0, part.size_bytes)
                self._copy(staged, part)

    def read(self, buffer: Buffer, size_bytes: int, offset_bytes: int) -> Bytes:
        """A copy of the buffer's bytes."""
        result = np.empty(size_bytes, np.uint8)
        if not size_bytes:
            return result
        source = buffer.region(offset_bytes, size_bytes)
        buffer.require_open()
        if buffer.is_mapped:
            buffer.invalidate(offset_bytes, size_bytes)
            result[:] = buffer.view()[offset_bytes : offset_bytes + size_bytes]
            return result
        with self._lock:
            staging = self._staging_buffer("download", size_bytes)
            for begin, part, staged in _chunks(source, staging):
                self._copy(part, staged)
                staging.invalidate(0, part.size_bytes)
                result[begin : begin + part.size_bytes] = staging.view()[: part.size_bytes]
        return result

    def _staging_buffer(self, access: Any, size_bytes: int) -> Buffer:
        """The staging buffer for one direction, large enough for the next chunk."""
        wanted = min(size_bytes, STAGING_BYTES)
        staging = self._staging.get(access)
        if staging is None or staging.size_bytes < wanted:
            if staging is not None:
                staging.close()
            # A power of two, so that growing step by step does not allocate each time.
            staging = Buffer(self._context, 1 << max(16, (wanted - 1).bit_length()), access)
            self._staging[access] = staging
        return staging

    def _copy(self, source: Region, destination: Region) -> None:
        with Commands(self._context) as commands:
            commands.copy(source, destination)
            commands.run()


def as_bytes(data: Any) -> Bytes:
    """The bytes of an array, of bytes or of a memoryview, in C order; copied only if scattered."""
    if isinstance(data, bytes | bytearray | memoryview):
        return np.frombuffer(data, np.uint8)
    return np.ascontiguousarray(data).reshape(-1).view(np.uint8)


def _chunks(region: Region, staging: Buffer) -> Iterator[tuple[int, Region, Region]]:
    """Offset in the whole, part of the region, and place in staging, for each piece."""
    step = min(STAGING_BYTES, staging.size_bytes)
    for begin in range(0, region.size_bytes, step):
        size = min(step, region.size_bytes - begin)
        part = Region(region.buffer, region.offset_bytes + begin, size)
        yield begin, part, Region(staging, 0, size)
