"""Which of a device's memory types a buffer is put in. Pure but for reading the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vkbackend import vk

BufferAccess = Literal["device", "upload", "download"]

# VkMemoryPropertyFlagBits, written out so that the choice can be tested without a Vulkan loader.
DEVICE_LOCAL, HOST_VISIBLE, HOST_COHERENT, HOST_CACHED = 1, 2, 4, 8
# Others stand for protected, lazily allocated or vendor-specific memory: not for buffers of ours.
_USABLE = DEVICE_LOCAL | HOST_VISIBLE | HOST_COHERENT | HOST_CACHED


@dataclass(frozen=True)
class MemoryTypes:
    """The memory types of a device (flags, heap) and the sizes of its device-local heaps."""

    types: tuple[tuple[int, int], ...]
    device_heaps_bytes: tuple[int, ...] = ()

    @classmethod
    def of(cls, handle: Any) -> MemoryTypes:
        """As the driver lists them."""
        memory = vk.struct("VkPhysicalDeviceMemoryProperties")
        vk.lib.vkGetPhysicalDeviceMemoryProperties(handle, memory)
        types = [memory.memoryTypes[index] for index in range(memory.memoryTypeCount)]
        heaps = [memory.memoryHeaps[index] for index in range(memory.memoryHeapCount)]
        return cls(
            tuple((int(item.propertyFlags), int(item.heapIndex)) for item in types),
            tuple(int(heap.size) for heap in heaps if heap.flags & DEVICE_LOCAL),
        )

    @property
    def device_bytes(self) -> int:
        """All device-local memory."""
        return sum(self.device_heaps_bytes)

    @property
    def is_unified(self) -> bool:
        """Whether the host sees every type of device-local memory that holds buffers."""
        local = [flags for flags, _ in self.types if flags & DEVICE_LOCAL and not flags & ~_USABLE]
        return bool(local) and all(flags & HOST_VISIBLE for flags in local)

    def flags(self, index: int) -> int:
        """Property flags of a type."""
        return self.types[index][0]

    def choose(self, allowed_bits: int, access: BufferAccess, map_device_memory: bool) -> int:
        """The index of the type for a buffer; -1 when none is allowed.

        `map_device_memory`: device memory may be seen by the host where there is such a type.
        """
        wanted, unwanted, required = _preference(access, map_device_memory)
        best, best_score = -1, -1
        for index, (flags, _) in enumerate(self.types):
            if not allowed_bits >> index & 1 or flags & ~_USABLE or flags & required != required:
                continue
            # `wanted` is ordered: an earlier flag outweighs all later ones.
            score = sum(
                1 << rank for rank, flag in enumerate(reversed(wanted), start=1) if flags & flag
            ) + (not flags & unwanted)
            if score > best_score:  # among equals the driver's own order, fastest first
                best, best_score = index, score
        return best


def _preference(access: BufferAccess, map_device_memory: bool) -> tuple[tuple[int, ...], int, int]:
    """Flags wanted, most important first; flags better absent; flags that must be there."""
    if access == "device":
        if map_device_memory:
            return (DEVICE_LOCAL, HOST_VISIBLE, HOST_COHERENT), HOST_CACHED, 0
        return (DEVICE_LOCAL,), HOST_VISIBLE, 0
    if access == "upload":
        # Cached memory is slower where the host only writes.
        if map_device_memory:
            return (HOST_COHERENT, DEVICE_LOCAL), HOST_CACHED, HOST_VISIBLE
        # On a GPU with memory of its own, what the host sees of that is small and precious.
        return (HOST_COHERENT,), HOST_CACHED | DEVICE_LOCAL, HOST_VISIBLE
    return (HOST_CACHED, HOST_COHERENT), 0, HOST_VISIBLE
