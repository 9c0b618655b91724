"""Strides, pads and dilations of ONNX's sliding windows, as pairs (height, width)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vkbackend.frontends.onnx.reader import OnnxNode
from vkbackend.frontends.onnx.scope import Scope
from vkbackend.frontends.onnx.values import RefusedError, Stored
from vkbackend.graph import Shape
from vkbackend.layouts import dims_of
from vkbackend.ops.hold import Hold
from vkbackend.ops.reshape import Reshape
from vkbackend.ops.window_pad import WindowPad

Pair = tuple[int, int]
_RULES = {"SAME_UPPER": "upper", "SAME_LOWER": "lower"}


@dataclass(frozen=True)
class Window:
    """One sliding window; padding is (top, left, bottom, right). One axis has height 1."""

    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair

    @property
    def reach(self) -> Pair:
        """Elements from a window's first to its last, both counted."""
        height, width = (
            step * (size - 1) + 1 for size, step in zip(self.kernel, self.dilation, strict=True)
        )
        return height, width


def fitted(
    scope: Scope, node: OnnxNode, x: Stored, kernel: Sequence[int], fill: int | None
) -> tuple[Stored, Window]:
    """The input and the node's window over it; padded before where pads depend on the size.

    `fill` is what a pad counts as, None where a pad is no value. In a file of one size, and where
    pads are no values, the pads of that size are taken and other sizes held to its remainder.
    """
    window = window_of(node, x.type.shape, kernel)
    mode = node.text("auto_pad", "NOTSET")
    depends = mode in _RULES or node.integer("ceil_mode", 0)
    if not depends or window.stride == (1, 1):
        return x, window
    if fill is None or not open_sizes(scope):
        height, width = dims_of(x.type.shape)[2:]
        hold = Hold(window.stride, (height % window.stride[0], width % window.stride[1]))
        return scope.add(f"{node.name}.hold", hold, [x], scope.fresh(f"{x.name}.held")), window
    padding = _stated_padding(node, x.type.shape)
    op = WindowPad(window.reach, window.stride, _RULES.get(mode, "ceil"), fill, padding)
    padded = scope.add(f"{node.name}.pad", op, [x], scope.fresh(f"{x.name}.padded"))
    return padded, replace(window, padding=(0, 0, 0, 0))


def held(scope: Scope, node: OnnxNode, x: Stored) -> Stored:
    """The same tensor; a model with another height or width is refused when it is planned."""
    op = Reshape((0, 0, *x.type.shape[2:]))
    return scope.add(f"{node.name}.hold", op, [x], scope.fresh(f"{x.name}.held"))


def open_sizes(scope: Scope) -> bool:
    """Whether the file leaves more open than the batch."""
    return any(isinstance(size, str) for x in scope.model.inputs for size in (x.shape or ())[1:])


def _stated_padding(node: OnnxNode, shape: Shape) -> tuple[int, int, int, int]:
    axes = len(shape) - 2
    pads = list(node.integers("pads") or (0,) * (2 * axes))
    return (*_pair(pads[:axes], 0), *_pair(pads[axes:], 0))


def window_of(node: OnnxNode, shape: Shape, kernel: Sequence[int]) -> Window:
    """The node's window over an input (n, c, w) or (n, c, h, w). Raises RefusedError.

    auto_pad as ONNX defines it: SAME_UPPER and SAME_LOWER make ceil(size / stride) outputs and
    put the odd pad at the end or at the beginning. ceil_mode becomes padding at the end.
    """
    axes = len(shape) - 2
    if axes not in (1, 2) or len(kernel) != axes:
        raise RefusedError(
            f"input of rank {len(shape)} with a kernel of {len(kernel)} dimensions; "
            "windows over one or two axes are supported"
        )
    strides = _of_axes(node, "strides", axes)
    dilations = _of_axes(node, "dilations", axes)
    reach = [step * (size - 1) + 1 for size, step in zip(kernel, dilations, strict=True)]
    begins, ends = _pads(node, shape[2:], reach, strides)
    if node.integer("ceil_mode", 0):
        ends = [
            _ceil_end(*sizes) for sizes in zip(shape[2:], reach, strides, begins, ends, strict=True)
        ]
    return Window(
        _pair(kernel, 1),
        _pair(strides, 1),
        (*_pair(begins, 0), *_pair(ends, 0)),
        _pair(dilations, 1),
    )


def _of_axes(node: OnnxNode, name: str, axes: int) -> Sequence[int]:
    values = node.integers(name)
    if values is None:
        return [1] * axes
    if len(values) != axes or min(values) < 1:
        raise RefusedError(f"{name} {list(values)} are not {axes} positive numbers")
    return values


def _pads(
    node: OnnxNode, sizes: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Pads at the beginning and at the end of each axis."""
    axes = len(sizes)
    mode = node.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * axes, [0] * axes
    if mode == "NOTSET":
        pads = node.integers("pads") or (0,) * (2 * axes)
        if len(pads) != 2 * axes:
            raise RefusedError(f"pads {list(pads)} are not {2 * axes} numbers")
        return list(pads[:axes]), list(pads[axes:])
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise RefusedError(f"auto_pad {mode!r} is unknown")
    totals = [
        max(0, (-(-size // stride) - 1) * stride + width - size)
        for size, width, stride in zip(sizes, reach, strides, strict=True)
    ]
    smaller, larger = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (smaller, larger) if mode == "SAME_UPPER" else (larger, smaller)


def _ceil_end(size: int, reach: int, stride: int, begin: int, end: int) -> int:
    """The end pad with which rounding down gives the outputs that ceil_mode gives.

    A window that would start behind the input and its first pad is left out (ONNX, MaxPool).
    """
    count = -(-(size + begin + end - reach) // stride) + 1
    if (count - 1) * stride >= size + begin:
        count -= 1
    return max(end, (count - 1) * stride + reach - size - begin)


def _pair(values: Sequence[int], height: int) -> Pair:
    return (values[0], values[1]) if len(values) == 2 else (height, values[0])
