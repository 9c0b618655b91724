"""Host bytes into any buffer and back; through a staging buffer where the host does not see it.

Large arrays are copied by several threads: one alone is slower than the bus of a large GPU.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from vkbackend.device.commands import Commands
from vkbackend.device.context import Context
from vkbackend.device.memory import Buffer, Bytes, Region

Array = npt.NDArray[Any]

STAGING_BYTES = 64 << 20
PART_BYTES = 1 << 20  # a smaller part takes longer to hand out than to copy
THREADS = max(1, min(8, (os.cpu_count() or 1) // 2))  # the others have work of their own


class Transfers:
    """Copies between the host and the buffers of one device; keeps two staging buffers for it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._staging: dict[str, Buffer] = {}
        self._threads = ThreadPoolExecutor(THREADS, "vkbackend-copy")

    def copy(self, target: Array, source: Array) -> None:
        """As np.copyto of arrays of the same shape; a large one is divided among threads."""
        count = min(THREADS, source.nbytes // PART_BYTES)
        if count < 2:
            np.copyto(target, source)
            return
        if source.flags.c_contiguous and target.flags.c_contiguous:
            target, source = target.reshape(-1), source.reshape(-1)
        edges = [len(source) * part // count for part in range(count + 1)]
        parts = [slice(begin, end) for begin, end in itertools.pairwise(edges)]
        rest = [self._threads.submit(np.copyto, target[part], source[part]) for part in parts[1:]]
        np.copyto(target[parts[0]], source[parts[0]])
        for copied in rest:
            copied.result()

    def close(self) -> None:
        """Ends the threads; the staging buffers go with the device."""
        self._threads.shutdown()

    def write(self, buffer: Buffer, data: Any, offset_bytes: int) -> None:
        """Copies all bytes of an array (or bytes) into the buffer, and returns when they are in."""
        source = as_bytes(data)
        if not source.size:
            return
        target = buffer.region(offset_bytes, source.size)
        buffer.require_open()
        if buffer.is_mapped:
            self.copy(buffer.view()[offset_bytes : offset_bytes + source.size], source)
            buffer.flush(offset_bytes, source.size)
            return
        with self._lock:
            staging = self._staging_buffer("upload", source.size)
            for begin, part, staged in _chunks(target, staging):
                piece = source[begin : begin + part.size_bytes]
                self.copy(staging.view()[: part.size_bytes], piece)
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
            self.copy(result, buffer.view()[offset_bytes : offset_bytes + size_bytes])
            return result
        with self._lock:
            staging = self._staging_buffer("download", size_bytes)
            for begin, part, staged in _chunks(source, staging):
                self._copy(part, staged)
                staging.invalidate(0, part.size_bytes)
                piece = result[begin : begin + part.size_bytes]
                self.copy(piece, staging.view()[: part.size_bytes])
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
