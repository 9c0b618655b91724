"""Packed int8 layouts: where the byte of element (n, c, h, w) lies; pack and unpack in NumPy.

`shaders/include/layout.glsl` is the twin of this file; a probe shader compares the two.
A layout cuts one or two dimensions into blocks of four, lays the blocks out in a dimension order,
and inside a block has the inner dimension fastest:

| layout | block | order of blocks, outermost first |
|---|---|---|
| 4C | 4 channels | N H W C |
| 4C1W | 4 channels | N H C W |
| 4W4C | 4 columns of 4 channels | N H W C |
| 4W | 4 columns | N C H W |
| 4H4W | 4 rows of 4 columns | N C H W |
| NCHW, NHWC | one element (the host's side of a network) | as named |

CONV2D is dynamic: it stands in files, and resolving replaces it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vkbackend.errors import GraphError

CONV2D = "CONV2D"
_AXES = "NCHW"
# vec4 reads of a tensor's last words stay inside its allocation.
STORAGE_ALIGNMENT_BYTES = 16

Dims = tuple[int, int, int, int]


@dataclass(frozen=True)
class Layout:
    """One layout: names of the dimensions outermost to innermost, and which are cut into fours."""

    name: str
    order: str
    inner: str
    inner_block: int
    outer: str = "W"
    outer_block: int = 1

    @property
    def packed(self) -> bool:
        """True where four elements share a word (int8 on the device), False for plain order."""
        return self.inner_block == 4

    @property
    def code(self) -> int:
        """The layout as one integer, the specialisation constant that layout.glsl decodes.

        Bits 0-7: dimension order, two bits each, innermost first (N 0, C 1, H 2, W 3); 8-9 inner
        dimension; 10-11 outer dimension; 12: inner block is 4; 13: outer block is 4.
        """
        code = 0
        for position, axis in enumerate(reversed(self.order)):
            code |= _AXES.index(axis) << (2 * position)
        code |= _AXES.index(self.inner) << 8 | _AXES.index(self.outer) << 10
        return code | (self.inner_block == 4) << 12 | (self.outer_block == 4) << 13

    def block_of(self, axis: str) -> int:
        """How many elements along this axis one block holds: 1 or 4."""
        inner = self.inner_block if axis == self.inner else 1
        return inner * (self.outer_block if axis == self.outer else 1)

    def blocks(self, dims: Dims) -> dict[str, int]:
        """How many blocks each dimension has, keyed by axis name."""
        sizes = zip(_AXES, dims, strict=True)
        return {axis: -(-size // self.block_of(axis)) for axis, size in sizes}

    def element_count(self, dims: Dims) -> int:
        """Elements in storage, padding included."""
        return math.prod(self.blocks(dims).values()) * self.inner_block * self.outer_block


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("4C", "NHWC", "C", 4),
        Layout("4C1W", "NHCW", "C", 4),
        Layout("4W4C", "NHWC", "C", 4, "W", 4),
        Layout("4W", "NCHW", "W", 4),
        Layout("4H4W", "NCHW", "W", 4, "H", 4),
        Layout("NCHW", "NCHW", "W", 1),
        Layout("NHWC", "NHWC", "C", 1),
    )
}
CHANNEL_PACKED = ("4C", "4C1W", "4W4C")
PACKED = tuple(name for name, layout in LAYOUTS.items() if layout.packed)
PLAIN = tuple(name for name, layout in LAYOUTS.items() if not layout.packed)


def dims_of(shape: tuple[int, ...]) -> Dims:
    """The four dimensions (n, c, h, w) that a tensor of rank 0 to 4 is stored with.

    Rank 2 is (n, c), rank 3 (n, c, w), rank 1 (c,). Raises GraphError for a higher rank.
    """
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    if len(shape) == 3:
        return shape[0], shape[1], 1, shape[2]
    if len(shape) == 2:
        return shape[0], shape[1], 1, 1
    if len(shape) <= 1:
        return 1, shape[0] if shape else 1, 1, 1
    raise GraphError(f"tensors have at most 4 dimensions here, got shape {shape}")


def size_bytes(layout: str, shape: tuple[int, ...], item_bytes: int = 1) -> int:
    """Bytes that a tensor of this shape takes, rounded up for vec4 reads of its tail."""
    size = LAYOUTS[layout].element_count(dims_of(shape)) * item_bytes
    return -(-size // STORAGE_ALIGNMENT_BYTES) * STORAGE_ALIGNMENT_BYTES


def address(
    layout: str, dims: Dims, at: tuple[npt.NDArray[np.int64], ...]
) -> npt.NDArray[np.int64]:
    """Element index in storage of each (n, c, h, w) in `at`: four arrays that broadcast."""
    form = LAYOUTS[layout]
    position = dict(zip(_AXES, at, strict=True))
    counts = form.blocks(dims)
    block: Any = 0
    for axis in form.order:
        block = block * counts[axis] + position[axis] // form.block_of(axis)
    within: Any = position[form.inner] % form.inner_block
    within = within + position[form.outer] % form.outer_block * form.inner_block
    return np.asarray(block * (form.inner_block * form.outer_block) + within)


def pack(values: npt.NDArray[Any], layout: str) -> npt.NDArray[Any]:
    """An NCHW array (rank 0 to 4) as the flat storage of `layout`, padding zero, dtype kept."""
    form = LAYOUTS[layout]
    dims = dims_of(values.shape)
    padded = _padded(form, dims)
    widths = [(0, whole - size) for whole, size in zip(padded, dims, strict=True)]
    whole = np.pad(values.reshape(dims), widths)
    return np.ascontiguousarray(_to_blocks(whole, form)).reshape(-1)


def unpack(storage: npt.NDArray[Any], layout: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The NCHW array of this shape that lies in `storage` (trailing elements ignored)."""
    form = LAYOUTS[layout]
    dims = dims_of(shape)
    padded = _padded(form, dims)
    order = _to_blocks(np.arange(int(np.prod(padded))).reshape(padded), form).reshape(-1)
    whole = np.empty(order.size, storage.dtype)
    whole[order] = storage[: order.size]
    cropped = whole.reshape(padded)[tuple(slice(size) for size in dims)]
    return np.ascontiguousarray(cropped).reshape(shape)


def _padded(form: Layout, dims: Dims) -> list[int]:
    """Dimensions rounded up to whole blocks, in NCHW order."""
    blocks = form.blocks(dims)
    return [blocks[axis] * form.block_of(axis) for axis in _AXES]


def _to_blocks(whole: npt.NDArray[Any], form: Layout) -> npt.NDArray[Any]:
    """A padded NCHW array as a view: blocks in the layout's order, then outer and inner lanes."""
    split = [
        size
        for axis, length in zip(_AXES, whole.shape, strict=True)
        for size in (length // form.block_of(axis), form.block_of(axis))
    ]
    blocks = [2 * _AXES.index(axis) for axis in form.order]
    lanes = [2 * _AXES.index(axis) + 1 for axis in _AXES if axis not in (form.inner, form.outer)]
    lanes += [2 * _AXES.index(axis) + 1 for axis in (form.outer, form.inner)]
    if form.inner == form.outer:
        lanes.pop()
    view: npt.NDArray[Any] = whole.reshape(split).transpose(blocks + lanes)
    return view
