"""What one submission hands to several queues: command buffers, each waiting for the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vkbackend import vk
from vkbackend.device.context import Queue


@dataclass(frozen=True)
class Link:
    """One queue's command buffer, and the semaphore that it waits for: None in the first."""

    queue: Queue
    command_buffer: Any
    semaphore: Any


def submissions(links: tuple[Link, ...], fence: Any) -> tuple[tuple[Any, Any, Any], ...]:
    """Each link's queue, VkSubmitInfo and fence, in order; only the last has the fence."""
    signals = [link.semaphore for link in links[1:]]
    found = []
    for link, signal in zip(links, [*signals, None], strict=True):
        waits = [] if link.semaphore is None else [link.semaphore]
        info = vk.struct(
            "VkSubmitInfo",
            waitSemaphoreCount=len(waits),
            pWaitSemaphores=waits or None,
            pWaitDstStageMask=[stages_of(link.queue)] if waits else None,
            commandBufferCount=1,
            pCommandBuffers=[link.command_buffer],
            signalSemaphoreCount=0 if signal is None else 1,
            pSignalSemaphores=None if signal is None else [signal],
        )
        found.append((link.queue.handle, info, fence if signal is None else vk.ffi.NULL))
    return tuple(found)


def stages_of(queue: Queue) -> int:
    """The pipeline stages that a queue's commands may have."""
    computing = 0 if queue.only_copies else vk.VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT
    return int(computing | vk.VK_PIPELINE_STAGE_TRANSFER_BIT)
