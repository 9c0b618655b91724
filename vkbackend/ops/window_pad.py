"""window_pad: pads that keep windows in step with an image of any size (auto_pad, ceil_mode)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import dims_of
from vkbackend.ops.base import ceil_div
from vkbackend.ops.conv2d.geometry import Pair, image_of
from vkbackend.ops.copying import Box, Boxes, Copying
from vkbackend.ops.strides import Strides

RULES = ("upper", "lower", "ceil")


@dataclass(frozen=True)
class WindowPad(Copying):
    """Pads height and width with `fill`, for windows of `reach` elements every `stride`.

    `upper` and `lower`: ceil(size / stride) windows, the odd pad at the end or at the beginning
    (ONNX's SAME). `ceil`: `padding` (top, left, bottom, right), and at the end as much more as a
    last window needs that begins within the image or its first pad.
    """

    kind: ClassVar[str] = "window_pad"

    reach: Pair
    stride: Pair
    rule: str
    fill: int
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def boxes(self, inputs: Sequence[TensorType]) -> Boxes:
        """The image within its pads."""
        shape, _ = image_of(inputs[0], "the input")
        if self.rule not in RULES or min(*self.reach, *self.stride) < 1 or min(self.padding) < 0:
            raise GraphError(f"windows of {self.reach} every {self.stride}, rule {self.rule!r}")
        begins, ends = self._pads(shape)
        made = [a + size + b for a, size, b in zip(begins, shape, ends, strict=True)]
        return Boxes(tuple(made), (Box(tuple(begins), Strides.of(shape, True)),), self.fill)

    def _pads(self, shape: Sequence[int]) -> tuple[list[int], list[int]]:
        """Pads at the beginning and at the end of each axis of the tensor."""
        pads = [self._axis_pads(axis, size) for axis, size in enumerate(dims_of(tuple(shape))[2:])]
        pads = pads[4 - len(shape) :]  # one axis lies along the width
        return [0, 0, *(begin for begin, _ in pads)], [0, 0, *(end for _, end in pads)]

    def _axis_pads(self, axis: int, size: int) -> Pair:
        reach, stride = self.reach[axis], self.stride[axis]
        if self.rule == "ceil":
            begin, end = self.padding[axis], self.padding[axis + 2]
            count = ceil_div(size + begin + end - reach, stride) + 1
            if (count - 1) * stride >= size + begin:
                count -= 1
            return begin, max(end, (count - 1) * stride + reach - size - begin)
        total = max(0, (ceil_div(size, stride) - 1) * stride + reach - size)
        smaller, larger = total // 2, total - total // 2
        return (smaller, larger) if self.rule == "upper" else (larger, smaller)

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """NumPy's pad."""
        begins, ends = self._pads(inputs[0].shape)
        widths = list(zip(begins, ends, strict=True))
        return [np.pad(inputs[0], widths, constant_values=inputs[0].dtype.type(self.fill))]
