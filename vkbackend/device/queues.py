"""Which queues of a device compute, upload and download. Pure but for reading the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vkbackend import vk

QueueUse = Literal["compute", "upload", "download"]

# VkQueueFlagBits, written out so that the choice can be tested without a Vulkan loader.
GRAPHICS, COMPUTE, TRANSFER, SPARSE_BINDING, PROTECTED = 1, 2, 4, 8, 16
_COPYING = GRAPHICS | COMPUTE | TRANSFER  # each of them says that a queue copies
# Others stand for queues that decode video and the like: their copies may well be slow.
_USABLE = _COPYING | SPARSE_BINDING | PROTECTED


@dataclass(frozen=True)
class QueueFamily:
    """A family of queues as the driver describes it."""

    flags: int
    queue_count: int
    timestamp_valid_bits: int = 0


@dataclass(frozen=True)
class QueuePlace:
    """One queue: its family, and its number in there."""

    family: int
    index: int


@dataclass(frozen=True)
class QueuePlaces:
    """The queue for each use. Uses that share a queue wait for each other."""

    compute: QueuePlace
    upload: QueuePlace
    download: QueuePlace

    def alone(self) -> QueuePlaces:
        """Everything on the queue that computes."""
        return QueuePlaces(self.compute, self.compute, self.compute)

    def queue_counts(self) -> dict[int, int]:
        """How many queues of each family to ask for."""
        counts: dict[int, int] = {}
        for place in (self.compute, self.upload, self.download):
            counts[place.family] = max(counts.get(place.family, 0), place.index + 1)
        return counts


def list_families(handle: Any) -> list[QueueFamily]:
    """The queue families of a physical device."""
    listed = vk.listing(
        "VkQueueFamilyProperties",
        vk.lib.vkGetPhysicalDeviceQueueFamilyProperties,
        handle,
        what="listing a device's queues",
    )
    return [
        QueueFamily(int(item.queueFlags), int(item.queueCount), int(item.timestampValidBits))
        for item in listed
    ]


def choose(families: Sequence[QueueFamily]) -> QueuePlaces | None:
    """The queue to compute on, of a family with timestamps if possible, and two to copy on.

    Those that only copy are best: they are engines of their own, and kernels go on meanwhile.
    Where there are too few queues the one that computes copies too. None: no queue computes.
    """
    computing = [i for i, f in enumerate(families) if f.flags & COMPUTE and f.queue_count]
    if not computing:
        return None
    timed = (i for i in computing if families[i].timestamp_valid_bits)
    compute = QueuePlace(next(timed, computing[0]), 0)
    spare = [
        place
        for number, family in enumerate(families)
        if family.flags & _COPYING and not family.flags & ~_USABLE
        for place in (QueuePlace(number, index) for index in range(family.queue_count))
        if place != compute
    ]
    spare.sort(key=lambda place: (families[place.family].flags & (GRAPHICS | COMPUTE)).bit_count())
    upload, download = [*spare[:2], compute, compute][:2]
    return QueuePlaces(compute, upload, download)
