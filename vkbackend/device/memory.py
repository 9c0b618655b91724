"""Buffers: memory of a device or of the host, and regions of it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vkbackend import vk
from vkbackend.device.context import Context, Owner
from vkbackend.device.memory_types import HOST_COHERENT, HOST_VISIBLE, BufferAccess
from vkbackend.errors import DeviceError, InputError

Bytes = npt.NDArray[np.uint8]

_WORD_BYTES = 4  # shaders see whole words, so a buffer ends on one


class Buffer:
    """A storage buffer with memory of its own; host-visible ones stay mapped until closed."""

    def __init__(
        self,
        context: Context,
        size_bytes: int,
        access: BufferAccess,
        staged: bool = False,
        shared: bool = False,
    ) -> None:
        """Raises OutOfMemoryError, or DeviceError when a limit is exceeded."""
        self.context = context
        self.size_bytes = size_bytes
        self.access = access
        _check_size(context, size_bytes, access)
        may_map = access != "device" or (context.maps_device_memory and not staged)
        with Owner(context) as owner:
            info = _buffer_info(size_bytes, context.queue_families if shared else ())
            self.handle = owner.create("VkBuffer", info, f"{self}")
            index, self._allocation_bytes = self._allocate(owner, may_map)
            flags = context.physical.memory_types.flags(index)
            self.is_mapped = may_map and bool(flags & HOST_VISIBLE)
            self._is_coherent = bool(flags & HOST_COHERENT)
            self._address = self._map() if self.is_mapped else 0
        self.keys = frozenset(owner.keys)
        self._owner = owner
        self._finalizer = weakref.finalize(self, owner.close)

    def __repr__(self) -> str:
        return f"{self.access} buffer of {self.size_bytes} bytes"

    def _allocate(self, owner: Owner, may_map: bool) -> tuple[int, int]:
        """Binds memory to the buffer: the index of its type, and its size in bytes."""
        context = self.context
        needs = vk.struct("VkMemoryRequirements")
        vk.lib.vkGetBufferMemoryRequirements(context.handle, self.handle, needs)
        # Where device memory is the host's own, an upload buffer had better lie in it too.
        may_map = may_map and (self.access == "device" or context.maps_device_memory)
        index = context.physical.memory_types.choose(needs.memoryTypeBits, self.access, may_map)
        if index < 0:
            raise DeviceError(f"{self}: {context.info.name} has no type of memory for it")
        info = vk.struct("VkMemoryAllocateInfo", allocationSize=needs.size, memoryTypeIndex=index)
        what = f"{self}: allocating {needs.size} bytes on {context.info.name}"
        self._memory = owner.create("VkDeviceMemory", info, what)
        vk.check(vk.lib.vkBindBufferMemory(context.handle, self.handle, self._memory, 0), f"{self}")
        return index, int(needs.size)

    def _map(self) -> int:
        out = vk.ffi.new("void **")
        result = vk.lib.vkMapMemory(self.context.handle, self._memory, 0, vk.WHOLE_SIZE, 0, out)
        vk.check(result, f"{self}: mapping it")
        return int(vk.ffi.cast("uintptr_t", out[0]))

    def view(self) -> Bytes:
        """The mapped bytes themselves, not a copy; they are gone once the buffer is closed.

        DeviceError on a buffer that the host does not see.
        """
        self.require_open()
        if not self.is_mapped:
            raise DeviceError(f"{self} is not mapped: use device.read and device.write")
        return np.asarray(_Mapping(self, self._address, self.size_bytes))

    def flush(self, offset_bytes: int = 0, size_bytes: int | None = None) -> None:
        """Makes what the host wrote visible to the device; nothing to do on coherent memory."""
        self._sync(vk.lib.vkFlushMappedMemoryRanges, offset_bytes, size_bytes)

    def invalidate(self, offset_bytes: int = 0, size_bytes: int | None = None) -> None:
        """Makes what the device wrote visible to the host; nothing to do on coherent memory."""
        self._sync(vk.lib.vkInvalidateMappedMemoryRanges, offset_bytes, size_bytes)

    def _sync(self, function: Any, offset_bytes: int, size_bytes: int | None) -> None:
        self.require_open()
        if self._is_coherent or not self.is_mapped:
            return
        size_bytes = self.size_bytes - offset_bytes if size_bytes is None else size_bytes
        begin, size = atom_range(
            offset_bytes,
            size_bytes,
            self.context.physical.non_coherent_atom_bytes,
            self._allocation_bytes,
        )
        span = vk.struct("VkMappedMemoryRange", memory=self._memory, offset=begin, size=size)
        vk.check(function(self.context.handle, 1, span), f"{self}: syncing it with the host")

    def region(self, offset_bytes: int = 0, size_bytes: int | None = None) -> Region:
        """A part of the buffer, to its end when no size is given. InputError outside of it."""
        size_bytes = self.size_bytes - offset_bytes if size_bytes is None else size_bytes
        region = Region(self, offset_bytes, size_bytes)
        region.require_inside()
        return region

    @property
    def is_closed(self) -> bool:
        """Whether the buffer, or its device, has been closed."""
        return self._owner.is_closed

    def require_open(self) -> None:
        """Raises DeviceError on a closed buffer."""
        self.context.require_open()
        if self.is_closed:
            raise DeviceError(f"{self} is closed")

    def close(self) -> None:
        """Frees the memory, after the device is done with it; a second call does nothing."""
        self._finalizer()

    def __enter__(self) -> Buffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Region:
    """Bytes of a buffer. Where only interleaved words of them are used, `part` says which: accesses
    to different parts of the same bytes do not collide.
    """

    buffer: Buffer
    offset_bytes: int
    size_bytes: int
    part: int | None = None

    def require_inside(self) -> None:
        """Raises InputError when the region is empty or not inside its buffer."""
        end_bytes = self.offset_bytes + self.size_bytes
        if self.offset_bytes < 0 or self.size_bytes <= 0 or end_bytes > self.buffer.size_bytes:
            raise InputError(
                f"bytes {self.offset_bytes} to {end_bytes} are not inside the {self.buffer}"
            )


class _Mapping:
    """What NumPy's view is based on: it keeps the buffer from being collected."""

    def __init__(self, buffer: Buffer, address: int, size_bytes: int) -> None:
        self.buffer = buffer
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (size_bytes,),
            "typestr": "|u1",
            "version": 3,
        }


def atom_range(
    offset_bytes: int, size_bytes: int, atom_bytes: int, allocation_bytes: int
) -> tuple[int, int]:
    """Offset and size, in whole atoms or to the end of the memory, that cover a range of bytes."""
    begin = offset_bytes // atom_bytes * atom_bytes
    end = -(-(offset_bytes + size_bytes) // atom_bytes) * atom_bytes
    return begin, min(end, allocation_bytes) - begin


def _buffer_info(size_bytes: int, sharing_families: Sequence[int]) -> Any:
    # Concurrent sharing costs a buffer nothing (it has no compressed form, as images have), and
    # saves handing it from queue to queue by pairs of barriers that must agree.
    is_concurrent = len(sharing_families) > 1
    return vk.struct(
        "VkBufferCreateInfo",
        size=-(-size_bytes // _WORD_BYTES) * _WORD_BYTES,
        usage=vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
        | vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT
        | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT,
        sharingMode=vk.VK_SHARING_MODE_CONCURRENT
        if is_concurrent
        else vk.VK_SHARING_MODE_EXCLUSIVE,
        queueFamilyIndexCount=len(sharing_families) if is_concurrent else 0,
        pQueueFamilyIndices=sharing_families if is_concurrent else None,
    )


def _check_size(context: Context, size_bytes: int, access: str) -> None:
    if access not in ("device", "upload", "download"):
        raise InputError(f"a buffer's access is device, upload or download, not {access!r}")
    if size_bytes <= 0:
        raise InputError(f"a buffer needs at least one byte, not {size_bytes}")
    limit = context.info.max_memory_allocation_bytes
    if size_bytes > limit:
        raise DeviceError(
            f"a buffer of {size_bytes} bytes was asked for, but {context.info.name} allocates at "
            f"most {limit} bytes at once: use a smaller network or batch, or several buffers"
        )
