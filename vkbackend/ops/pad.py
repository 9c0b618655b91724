"""pad: values around a tensor: one value, or the tensor's own, repeated or mirrored."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.ops.copying import Box, Boxes, Copying, channels_last
from vkbackend.ops.strides import Strides

MODES = ("constant", "edge", "reflect", "wrap")
Span = tuple[int, int, int, int]  # where it begins in the output, first position, step, count


@dataclass(frozen=True)
class Pad(Copying):
    """`before` and `after` are element counts per axis; negative ones cut elements off.

    `fill` is a value of the tensor's type, for mode `constant`. Other modes take the input once for
    every region: `repeats(before, after)` times.
    """

    kind: ClassVar[str] = "pad"

    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: str = "constant"
    fill: float = 0.0

    @property
    def keeps_images(self) -> bool:  # type: ignore[override]
        """Whether the batch is left alone, and then may be split."""
        return not any((*self.before[:1], *self.after[:1]))

    def boxes(self, inputs: Sequence[TensorType]) -> Boxes:
        """The input in the middle; in other modes than `constant` a box per region around it."""
        shape = inputs[0].shape
        if self.mode not in MODES or not len(self.before) == len(self.after) == len(shape):
            raise GraphError(f"pads {self.before} and {self.after} of {list(shape)}, {self.mode}")
        whole = Strides.of(shape, channels_last(inputs[0]))
        sizes = zip(self.before, shape, self.after, strict=True)
        made = tuple(before + size + after for before, size, after in sizes)
        if self.mode == "constant":
            return Boxes(made, (Box(self.before, whole),), self.fill)
        spans = [self._spans(axis, size) for axis, size in enumerate(shape)]
        boxes = [_box(whole, region) for region in itertools.product(*spans)]
        if len(boxes) != len(inputs):
            raise GraphError(f"{len(boxes)} regions for {len(inputs)} times the input")
        return Boxes(made, tuple(boxes))

    def _spans(self, axis: int, size: int) -> list[Span]:
        """The regions along one axis, as the elements of the input that they repeat."""
        before, after = self.before[axis], self.after[axis]
        most = size if self.mode == "wrap" else size - 1
        if self.mode != "edge" and max(before, after) > most:
            raise GraphError(f"pads of {before} and {after} reach over the {size} of axis {axis}")
        first, last = max(0, -before), min(size, size + after)
        spans = [(max(before, 0), first, 1, last - first)]
        if before > 0:
            start, step = {"edge": (0, 0), "reflect": (before, -1)}.get(
                self.mode, (size - before, 1)
            )
            spans.append((0, start, step, before))
        if after > 0:
            start, step = {"edge": (size - 1, 0), "reflect": (size - 2, -1)}.get(self.mode, (0, 1))
            spans.append((before + size, start, step, after))
        return spans

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """NumPy's pad, then cut."""
        values = inputs[0]
        widths = [(max(a, 0), max(b, 0)) for a, b in zip(self.before, self.after, strict=True)]
        if self.mode == "constant":
            padded = np.pad(values, widths, constant_values=values.dtype.type(self.fill))
        else:
            padded = np.pad(values, widths, mode=self.mode)  # type: ignore[call-overload]
        cuts = zip(self.before, self.after, padded.shape, strict=True)
        kept = tuple(slice(max(-a, 0), size - max(-b, 0)) for a, b, size in cuts)
        return [np.ascontiguousarray(padded[kept])]


def repeats(before: Sequence[int], after: Sequence[int]) -> int:
    """How many times a mode other than `constant` takes the input."""
    count = 1
    for pads in zip(before, after, strict=True):
        count *= 1 + sum(pad > 0 for pad in pads)
    return count


def _box(whole: Strides, region: Sequence[Span]) -> Box:
    strides = whole
    for axis, (_, first, step, count) in enumerate(region):
        cut = strides.sliced(axis, first, step, count)
        assert cut is not None  # each axis of a whole tensor is one digit
        strides = cut
    return Box(tuple(begin for begin, *_ in region), strides)
