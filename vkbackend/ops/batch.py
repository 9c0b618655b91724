"""Work larger than a device's limits, split over the batch: images are independent and outermost.

`options`, `relayout` and `lower` stand before the operators' own functions, so that no operator
has to know. A split candidate has `image_step`: how many images one dispatch takes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from vkbackend.gpu import GpuInfo
from vkbackend.graph import BoundNode, TensorType
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import (
    OFFSET_ALIGNMENT_BYTES,
    Candidate,
    Dispatch,
    Options,
    Work,
    ceil_div,
)
from vkbackend.ops.relayout import relayout_candidate


def options(node: BoundNode, gpu: GpuInfo) -> Options:
    """The operator's candidates; where the whole batch fits none, those of a part of it."""
    found = node.op.candidates(node, gpu)
    images = _batch(node)
    step = images
    while not found.eligible and step > 1:
        step = ceil_div(step, 2)
        part = node.op.candidates(slice_node(node, step), gpu)
        fitting = [
            dataclasses.replace(c, image_step=step, work=_scaled(c.work, ceil_div(images, step)))
            for c in part.eligible
            if step >= images or _aligned(node, c, step)
        ]
        if fitting:
            return Options(tuple(fitting), part.rejected)
    return found


def relayout(tensor: TensorType, source: str, target: str, gpu: GpuInfo) -> Candidate | None:
    """The copy between two layouts, in parts where need be; None where even that does not fit."""
    images = tensor.shape[0] if tensor.shape else 1
    step = images
    while True:
        part = dataclasses.replace(tensor, shape=(step, *tensor.shape[1:])) if step else tensor
        candidate = relayout_candidate(part, source, target, gpu)
        if candidate and step == images:
            return candidate
        if candidate and all(_part_aligned(tensor, layout, step) for layout in (source, target)):
            work = _scaled(candidate.work, ceil_div(images, step))
            return dataclasses.replace(candidate, image_step=step, work=work)
        if step <= 1:
            return None
        step = ceil_div(step, 2)


def lower(node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
    """The operator's dispatches, once per part of the batch."""
    if not choice.image_step:
        return node.op.lower(node, choice)
    dispatches = []
    images = _batch(node)
    for first in range(0, images, choice.image_step):
        count = min(choice.image_step, images - first)
        dispatches += [
            dataclasses.replace(dispatch, images=(first, count))
            for dispatch in node.op.lower(slice_node(node, count), choice)
        ]
    return dispatches


def slice_node(node: BoundNode, images: int) -> BoundNode:
    """The same node over fewer images."""

    def cut(tensors: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        return tuple(dataclasses.replace(t, shape=(images, *t.shape[1:])) for t in tensors)

    return dataclasses.replace(node, inputs=cut(node.inputs), outputs=cut(node.outputs))


def _batch(node: BoundNode) -> int:
    """Images that every tensor of the node has, or 1 where they do not agree."""
    firsts = {t.shape[0] if t.shape else 1 for t in (*node.inputs, *node.outputs)}
    return firsts.pop() if len(firsts) == 1 and node.op.keeps_images else 1


def _aligned(node: BoundNode, candidate: Candidate, step: int) -> bool:
    pairs = [
        *zip(node.inputs, candidate.input_layouts, strict=True),
        *((tensor, candidate.output_layout) for tensor in node.outputs),
    ]
    return all(_part_aligned(tensor, layout, step) for tensor, layout in pairs)


def _part_aligned(tensor: TensorType, layout: str, step: int) -> bool:
    """Whether each part begins where a buffer may be bound."""
    item_bytes = 4 if tensor.quantization is None else 1
    exact = size_bytes(layout, tensor.shape, item_bytes)
    image_bytes = exact // tensor.shape[0]
    whole = image_bytes * tensor.shape[0] == exact
    return whole and math.gcd(image_bytes * step, OFFSET_ALIGNMENT_BYTES) == OFFSET_ALIGNMENT_BYTES


def _scaled(work: Work, times: int) -> Work:
    """Work of all parts; scratch is used by one after the other."""
    return dataclasses.replace(
        work,
        macs=work.macs * times,
        bytes_read=work.bytes_read * times,
        bytes_written=work.bytes_written * times,
        dispatches=work.dispatches * times,
    )
