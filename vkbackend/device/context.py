"""The live VkDevice and its queue, and the one registry of everything that was made on it."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from vkbackend import vk
from vkbackend.device.facts import PhysicalDevice
from vkbackend.device.instance import Instance
from vkbackend.device.queues import QueuePlace, QueueUse
from vkbackend.errors import DeviceError
from vkbackend.gpu import GpuInfo

_PORTABILITY_SUBSET = "VK_KHR_portability_subset"  # must be enabled where it exists
_MAKERS = {"VkDeviceMemory": ("vkAllocateMemory", "vkFreeMemory")}


class Lifetimes:
    """Every Vulkan object of a device, by a key of our own; each is destroyed exactly once."""

    def __init__(self, device: Any, queue_lock: threading.RLock) -> None:
        self.device = device
        self.objects: dict[int, tuple[str, Any]] = {}
        self.busy: set[int] = set()  # keys of fences that have been submitted and not awaited
        self.is_closed = False
        self._queue_lock = queue_lock
        self._keys = itertools.count()

    def add(self, kind: str, handle: Any) -> int:
        """Takes charge of a handle; `kind` is its Vulkan type."""
        key = next(self._keys)
        self.objects[key] = (kind, handle)
        return key

    def release(self, keys: Iterable[int]) -> None:
        """Destroys those that still exist, newest first, once the device is done with all work."""
        living = sorted(set(keys).intersection(self.objects), reverse=True)
        if living and self.busy:
            self.wait_idle()
        for key in living:
            # A finalizer may run in the midst of this one: the pop decides who destroys.
            kind, handle = self.objects.pop(key, ("", None))
            if kind:
                destroy = _MAKERS.get(kind, ("", f"vkDestroy{kind[2:]}"))[1]
                getattr(vk.lib, destroy)(self.device, handle, vk.ffi.NULL)

    def wait_idle(self) -> None:
        """Waits for everything submitted. A lost device is idle too, so errors are not told."""
        with self._queue_lock:
            vk.lib.vkDeviceWaitIdle(self.device)
            self.busy.clear()

    def close(self) -> None:
        """Destroys everything, and the device."""
        if not self.is_closed:
            self.is_closed = True
            self.release(self.objects.copy())
            vk.lib.vkDestroyDevice(self.device, vk.ffi.NULL)


@dataclass(frozen=True)
class Queue:
    """A live VkQueue; one that only copies takes no dispatches."""

    handle: Any
    family: int
    only_copies: bool


class Context:
    """A VkDevice with its queues; everything made on it keeps it alive, not the other way round."""

    def __init__(
        self, instance: Instance, physical: PhysicalDevice, *, staged: bool = False
    ) -> None:
        """Raises DeviceError when the driver refuses. `staged`: see Device.open."""
        self.instance = instance
        self.physical = physical
        self.info = physical.info
        self.messages = instance.messages
        # Whether device memory is the host's own, so that buffers need no staging.
        self.maps_device_memory = not staged and _is_hosts_own(physical.info)
        self.queue_lock = threading.RLock()  # one for all queues; re-entered by finalizers
        assert physical.queues is not None
        places = physical.queues.alone() if self.maps_device_memory else physical.queues
        self.handle = _create_device(physical, places.queue_counts())
        self.lifetimes = Lifetimes(self.handle, self.queue_lock)
        self._finalizer = weakref.finalize(self, _close, self.lifetimes, instance)
        self.queues: Mapping[QueueUse, Queue] = {
            "compute": self._queue(places.compute, only_copies=False),
            "upload": self._queue(places.upload, only_copies=True),
            "download": self._queue(places.download, only_copies=True),
        }
        self.queue_families = sorted(places.queue_counts())

    def _queue(self, place: QueuePlace, *, only_copies: bool) -> Queue:
        out = vk.ffi.new("VkQueue *")
        vk.lib.vkGetDeviceQueue(self.handle, place.family, place.index, out)
        return Queue(out[0], place.family, only_copies)

    def close(self) -> None:
        """Waits for the device and destroys everything made on it; a second call does nothing."""
        self._finalizer()

    def require_open(self) -> None:
        """Raises DeviceError on a closed device."""
        if self.lifetimes.is_closed:
            raise DeviceError(f"{self.info.name}: the device is closed: open it again")

    def raise_messages(self) -> None:
        """Raises ValidationError with what the validation layer has said since the last call."""
        if self.messages:
            self.instance.raise_messages()

    def live_objects(self) -> dict[str, int]:
        """How many objects of each Vulkan type exist."""
        return dict(Counter(kind for kind, _ in self.lifetimes.objects.copy().values()))


def _close(lifetimes: Lifetimes, instance: Instance) -> None:
    lifetimes.close()
    instance.close()


def _is_hosts_own(info: GpuInfo) -> bool:
    return info.unified_memory or info.device_type in ("integrated", "cpu")


def _create_device(physical: PhysicalDevice, queue_counts: Mapping[int, int]) -> Any:
    """A VkDevice with so many queues of each family, and every feature that our modules need."""
    info = physical.info
    extensions = physical.features.extensions(info.api_version)
    if _PORTABILITY_SUBSET in physical.extensions:
        extensions.append(_PORTABILITY_SUBSET)
    queues = [
        vk.struct(
            "VkDeviceQueueCreateInfo",
            queueFamilyIndex=family,
            queueCount=count,
            pQueuePriorities=[1.0] * count,
        )
        for family, count in queue_counts.items()
    ]
    create_info = vk.struct(
        "VkDeviceCreateInfo",
        pNext=physical.features.enabling_chain(),
        queueCreateInfoCount=len(queues),
        pQueueCreateInfos=queues,
        enabledExtensionCount=len(extensions),
        ppEnabledExtensionNames=extensions or None,
    )
    return vk.create(
        "VkDevice",
        vk.lib.vkCreateDevice,
        physical.handle,
        create_info,
        vk.ffi.NULL,
        what=f"opening {info.name}",
    )


class Owner:
    """The Vulkan objects that one Python object owns, released together.

    As a `with` block around the making: an error inside releases what was made so far.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.keys: list[int] = []

    def create(self, kind: str, info: Any, what: str) -> Any:
        """Makes an object from its create (or allocate) info; errors say that `what` failed."""
        self.context.require_open()
        function = _MAKERS.get(kind, (f"vkCreate{kind[2:]}", ""))[0]
        device = self.context.handle
        handle = vk.create(kind, getattr(vk.lib, function), device, info, vk.ffi.NULL, what=what)
        self.keys.append(self.context.lifetimes.add(kind, handle))
        return handle

    @property
    def is_closed(self) -> bool:
        """Whether any of the objects is gone."""
        return not self.context.lifetimes.objects.keys() >= set(self.keys)

    def close(self) -> None:
        """Releases all of them; a second call does nothing."""
        self.context.lifetimes.release(self.keys)

    def __enter__(self) -> Owner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.close()
