"""From a list of steps to a recorded command buffer: descriptor sets, barriers, raw calls.

Everything here goes through C arrays and raw functions: the binding's wrappers take ten times as
long, and a network has hundreds of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vkbackend import vk
from vkbackend.device.context import Context, Owner, Queue
from vkbackend.device.hazards import HazardTracker, Span
from vkbackend.device.memory import Buffer, Region
from vkbackend.device.pipeline import Pipeline
from vkbackend.device.submission import Link, stages_of, submissions


@dataclass(frozen=True)
class Dispatch:
    """A run of a pipeline; `regions` in the order of the interface's bindings."""

    pipeline: Pipeline
    regions: tuple[Region, ...]
    push: bytes
    workgroups: tuple[int, int, int]


@dataclass(frozen=True)
class Copy:
    """A copy from one region to another of the same size."""

    source: Region
    destination: Region


@dataclass(frozen=True)
class Timestamp:
    """A point in time, by its number in the query pool."""

    index: int


Step = Dispatch | Copy | Timestamp


@dataclass(frozen=True)
class Recorded:
    """Command buffers ready to be submitted, with all that the submission needs."""

    links: tuple[Link, ...]
    submissions: tuple[tuple[Any, Any, Any], ...]  # queue, info and fence; the last has the fence
    fences: Any  # an array of that one
    fence_key: int
    buffers: frozenset[Buffer]
    needs: frozenset[int]  # keys of what must still exist when it is submitted
    query_pool: Any
    timestamp_count: int
    barrier_count: int
    queue_submit: Any
    wait_for_fences: Any
    reset_fences: Any

    def timestamps_us(self, context: Context) -> list[float] | None:
        """Microseconds since the first timestamp; None where the device cannot tell."""
        count = self.timestamp_count
        if not count:
            return []
        if self.query_pool is None:
            return None
        ticks = vk.ffi.new("uint64_t[]", count)
        # Without the flag that waits: some drivers never write a time, and would never return.
        flags = vk.VK_QUERY_RESULT_64_BIT
        result = vk.lib.vkGetQueryPoolResults(
            context.handle, self.query_pool, 0, count, 8 * count, ticks, 8, flags
        )
        if result == vk.VK_NOT_READY:
            return None
        vk.check(result, "reading timestamps")
        mask = (1 << context.info.timestamp_valid_bits) - 1
        period_us = context.info.timestamp_period_ns / 1000
        return [((int(tick) - int(ticks[0])) & mask) * period_us for tick in ticks]


def record(
    owner: Owner,
    queue: Queue,
    steps: list[Step],
    timestamp_count: int,
    earlier: Recorded | None = None,
) -> Recorded:
    """Records the steps; everything made for it belongs to `owner`.

    What was recorded `earlier` is submitted along, and is done before the first step begins.
    """
    dispatches = [step for step in steps if isinstance(step, Dispatch)]
    has_copies = queue.only_copies or any(isinstance(step, Copy) for step in steps)
    sets = _descriptor_sets(owner, dispatches)
    query_pool = _query_pool(owner, timestamp_count)
    buffers = {region.buffer for step in steps for region in _regions(step)}
    recorder = _Recorder(owner, queue, sets, query_pool, has_copies)
    recorder.begin(timestamp_count)
    for step in steps:
        recorder.add(step)
    recorder.finish()
    fence = owner.create("VkFence", vk.struct("VkFenceCreateInfo"), "making a fence")
    fence_key = owner.keys[-1]
    needs = {fence_key}.union(*(buffer.keys for buffer in buffers))
    links = _links(owner, queue, recorder.command_buffer, earlier)
    if earlier is not None:
        buffers |= earlier.buffers
        needs |= earlier.needs
    return Recorded(
        links=links,
        submissions=submissions(links, fence),
        fences=vk.array("VkFence", [fence]),
        fence_key=fence_key,
        buffers=frozenset(buffers),
        needs=frozenset(needs),
        query_pool=query_pool,
        timestamp_count=timestamp_count,
        barrier_count=recorder.barrier_count,
        queue_submit=vk.lib.vkQueueSubmit,
        wait_for_fences=vk.lib.vkWaitForFences,
        reset_fences=vk.lib.vkResetFences,
    )


def _links(
    owner: Owner, queue: Queue, command_buffer: Any, earlier: Recorded | None
) -> tuple[Link, ...]:
    if earlier is None:
        return (Link(queue, command_buffer, None),)
    # A binary semaphore, no timeline: it needs no Vulkan 1.2, and the same submission replays.
    info = vk.struct("VkSemaphoreCreateInfo")
    semaphore = owner.create("VkSemaphore", info, "making a semaphore")
    return (*earlier.links, Link(queue, command_buffer, semaphore))


def _regions(step: Step) -> tuple[Region, ...]:
    match step:
        case Dispatch():
            return step.regions
        case Copy():
            return step.source, step.destination
    return ()


def _accesses(step: Step) -> tuple[list[Region], list[Region]]:
    """What a step reads, and what it writes."""
    if isinstance(step, Copy):
        return [step.source], [step.destination]
    if not isinstance(step, Dispatch):
        return [], []
    bindings = step.pipeline.interface.bindings.values()
    pairs = list(zip(step.regions, bindings, strict=True))
    reads = [region for region, binding in pairs if binding.access != "write"]
    writes = [region for region, binding in pairs if binding.access != "read"]
    return reads, writes


def _span(region: Region) -> Span:
    end = region.offset_bytes + region.size_bytes
    return Span(region.buffer, region.offset_bytes, end, region.part)


class _Recorder:
    """Writes steps into one command buffer."""

    def __init__(
        self, owner: Owner, queue: Queue, sets: dict[Any, Any], pool: Any, has_copies: bool
    ) -> None:
        self.command_buffer = _command_buffer(owner, queue)
        self.barrier_count = 0
        self._queue = queue
        self._lib = vk.lib
        self._sets = sets
        self._query_pool = pool
        self._hazards = HazardTracker()
        self._pipeline: Pipeline | None = None
        self._host_reads = False
        self._compute = vk.VK_PIPELINE_BIND_POINT_COMPUTE
        # One pair of stages for all barriers: a later copy may depend on what an earlier
        # barrier between two dispatches has already been counted for.
        self._stages = self._writes = self._reads = 0
        if not queue.only_copies:
            self._stages |= vk.VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT
            self._writes |= vk.VK_ACCESS_SHADER_WRITE_BIT
            self._reads |= vk.VK_ACCESS_SHADER_READ_BIT
        if has_copies:
            self._stages |= vk.VK_PIPELINE_STAGE_TRANSFER_BIT
            self._writes |= vk.VK_ACCESS_TRANSFER_WRITE_BIT
            self._reads |= vk.VK_ACCESS_TRANSFER_READ_BIT
        self._memory_barrier = vk.struct(
            "VkMemoryBarrier",
            srcAccessMask=self._writes,
            dstAccessMask=self._reads | self._writes,
        )

    def begin(self, timestamp_count: int) -> None:
        """Opens the buffer, with a barrier against whatever was submitted before it."""
        info = vk.struct("VkCommandBufferBeginInfo")
        vk.check(self._lib.vkBeginCommandBuffer(self.command_buffer, info), "recording commands")
        if self._query_pool is not None:
            self._lib.vkCmdResetQueryPool(self.command_buffer, self._query_pool, 0, timestamp_count)
        # An earlier submission may still run, and may have copied: all stages take part.
        everything = vk.struct(
            "VkMemoryBarrier",
            srcAccessMask=vk.VK_ACCESS_MEMORY_WRITE_BIT,
            dstAccessMask=self._reads | self._writes,
        )
        self._barrier(stages_of(self._queue), self._stages, everything)

    def add(self, step: Step) -> None:
        """Records one step, after a barrier where it needs one."""
        reads, writes = _accesses(step)
        if self._hazards.step([_span(r) for r in reads], [_span(r) for r in writes]):
            self._barrier(self._stages, self._stages, self._memory_barrier)
            self.barrier_count += 1
        self._host_reads |= any(region.buffer.is_mapped for region in writes)
        match step:
            case Dispatch():
                self._dispatch(step)
            case Copy():
                self._copy(step)
            case Timestamp():
                self._timestamp(step)

    def finish(self) -> None:
        """Makes what was written visible to the host where it can look, and closes the buffer."""
        if self._host_reads:
            to_host = vk.struct(
                "VkMemoryBarrier",
                srcAccessMask=self._writes,
                dstAccessMask=vk.VK_ACCESS_HOST_READ_BIT,
            )
            self._barrier(self._stages, vk.VK_PIPELINE_STAGE_HOST_BIT, to_host)
        vk.check(self._lib.vkEndCommandBuffer(self.command_buffer), "recording commands")

    def _barrier(self, before: int, after: int, barrier: Any) -> None:
        null = vk.ffi.NULL
        self._lib.vkCmdPipelineBarrier(
            self.command_buffer, before, after, 0, 1, barrier, 0, null, 0, null
        )

    def _dispatch(self, step: Dispatch) -> None:
        lib, buffer, pipeline = self._lib, self.command_buffer, step.pipeline
        if pipeline is not self._pipeline:
            lib.vkCmdBindPipeline(buffer, self._compute, pipeline.handle)
            self._pipeline = pipeline
        if step.regions:
            sets = self._sets[pipeline, step.regions]
            lib.vkCmdBindDescriptorSets(
                buffer, self._compute, pipeline.layout, 0, 1, sets, 0, vk.ffi.NULL
            )
        if step.push:
            stage = vk.VK_SHADER_STAGE_COMPUTE_BIT
            block = vk.ffi.from_buffer(step.push)
            lib.vkCmdPushConstants(buffer, pipeline.layout, stage, 0, len(step.push), block)
        lib.vkCmdDispatch(buffer, *step.workgroups)

    def _copy(self, step: Copy) -> None:
        source, destination = step.source, step.destination
        span = vk.struct(
            "VkBufferCopy",
            srcOffset=source.offset_bytes,
            dstOffset=destination.offset_bytes,
            size=source.size_bytes,
        )
        self._lib.vkCmdCopyBuffer(
            self.command_buffer, source.buffer.handle, destination.buffer.handle, 1, span
        )

    def _timestamp(self, step: Timestamp) -> None:
        if self._query_pool is not None:
            stage = vk.VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT
            self._lib.vkCmdWriteTimestamp(self.command_buffer, stage, self._query_pool, step.index)


def _command_buffer(owner: Owner, queue: Queue) -> Any:
    context = owner.context
    pool_info = vk.struct("VkCommandPoolCreateInfo", queueFamilyIndex=queue.family)
    pool = owner.create("VkCommandPool", pool_info, "making a command pool")
    info = vk.struct(
        "VkCommandBufferAllocateInfo",
        commandPool=pool,
        level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        commandBufferCount=1,
    )
    allocate = vk.lib.vkAllocateCommandBuffers
    what = "making a command buffer"
    return vk.create("VkCommandBuffer", allocate, context.handle, info, what=what)


def _query_pool(owner: Owner, timestamp_count: int) -> Any:
    """A pool of that many timestamps; None without any, or where the device cannot tell time."""
    info = owner.context.info
    if not timestamp_count or not info.timestamp_valid_bits or not info.timestamp_period_ns:
        return None
    pool_info = vk.struct(
        "VkQueryPoolCreateInfo",
        queryType=vk.VK_QUERY_TYPE_TIMESTAMP,
        queryCount=timestamp_count,
    )
    return owner.create("VkQueryPool", pool_info, "making a pool of timestamps")


def _descriptor_sets(owner: Owner, dispatches: list[Dispatch]) -> dict[Any, Any]:
    """(pipeline, regions) -> its descriptor set, as an array of one; equal ones are shared."""
    wanted = list(dict.fromkeys((d.pipeline, d.regions) for d in dispatches if d.regions))
    if not wanted:
        return {}
    buffer_count = sum(len(regions) for _, regions in wanted)
    size = vk.struct(
        "VkDescriptorPoolSize",
        type=vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
        descriptorCount=buffer_count,
    )
    pool_info = vk.struct(
        "VkDescriptorPoolCreateInfo", maxSets=len(wanted), poolSizeCount=1, pPoolSizes=size
    )
    pool = owner.create("VkDescriptorPool", pool_info, "making a descriptor pool")
    layouts = [pipeline.set_layout for pipeline, _ in wanted]
    info = vk.struct(
        "VkDescriptorSetAllocateInfo",
        descriptorPool=pool,
        descriptorSetCount=len(layouts),
        pSetLayouts=layouts,
    )
    handles = vk.array("VkDescriptorSet", len(layouts))
    result = vk.lib.vkAllocateDescriptorSets(owner.context.handle, info, handles)
    vk.check(result, f"making {len(layouts)} descriptor sets")
    _write_descriptors(owner.context, wanted, handles, buffer_count)
    return {
        key: vk.array("VkDescriptorSet", [handle])
        for key, handle in zip(wanted, handles, strict=True)
    }


def _write_descriptors(
    context: Context,
    wanted: list[tuple[Pipeline, tuple[Region, ...]]],
    handles: Any,
    buffer_count: int,
) -> None:
    infos = vk.array("VkDescriptorBufferInfo", buffer_count)
    writes = vk.array("VkWriteDescriptorSet", buffer_count)
    storage_buffer = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
    index = 0
    for (pipeline, regions), handle in zip(wanted, handles, strict=True):
        for region, binding in zip(regions, pipeline.interface.bindings.values(), strict=True):
            info, write = infos[index], writes[index]
            info.buffer = region.buffer.handle
            info.offset = region.offset_bytes
            info.range = region.size_bytes
            write.dstSet = handle
            write.dstBinding = binding.binding
            write.descriptorCount = 1
            write.descriptorType = storage_buffer
            write.pBufferInfo = infos + index
            index += 1
    vk.lib.vkUpdateDescriptorSets(context.handle, buffer_count, writes, 0, vk.ffi.NULL)
