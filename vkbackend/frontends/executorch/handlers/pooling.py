"""max_pool2d, avg_pool2d and mean."""

from __future__ import annotations

from collections.abc import Callable

from vkbackend.errors import GraphError
from vkbackend.frontends.executorch import averages
from vkbackend.frontends.executorch.islands import move
from vkbackend.frontends.executorch.records import Call
from vkbackend.frontends.executorch.scope import Scope, shape_of
from vkbackend.frontends.executorch.values import (
    Deferred,
    Elementwise,
    Functions,
    Joined,
    RefusedError,
    Stored,
    Value,
)
from vkbackend.graph import Quantization, Shape
from vkbackend.ops.base import Operator
from vkbackend.ops.conv2d.geometry import output_size
from vkbackend.ops.max_pool import MaxPool

Pair = tuple[int, int]
Piece = Callable[[Elementwise | Deferred], Deferred]


def max_pool(scope: Scope, call: Call) -> Value:
    """x, kernel, stride, padding, dilation, ceil_mode."""
    kernel = scope.pair(call, 1)
    stride = _pair(scope, call, 2, kernel)
    padding, dilation = _pair(scope, call, 3, (0, 0)), _pair(scope, call, 4, (1, 1))
    _require_image(scope, call)
    _require_window(scope, call, kernel, stride, padding, dilation)
    ceil_mode = _flag(scope, call, 5, False)

    def operator(shape: Shape) -> Operator:
        windows = zip(shape[2:], kernel, stride, padding, dilation, strict=True)
        ends = tuple(_end(*window) for window in windows) if ceil_mode else padding
        return MaxPool(kernel, stride, (*padding, ends[0], ends[1]), dilation)

    return move(scope, call, operator, picks=True)


def _end(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """The end pad with which rounding down gives the outputs that ceil_mode gives.

    A window that would begin behind the input and its first pad is left out.
    """
    reach = dilation * (kernel - 1) + 1
    count = -(-(size + 2 * padding - reach) // stride) + 1
    if (count - 1) * stride >= size + padding:
        count -= 1
    return max(padding, (count - 1) * stride + reach - size - padding)


def avg_pool(scope: Scope, call: Call) -> Value:
    """x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override."""
    kernel = scope.pair(call, 1)
    stride, padding = _pair(scope, call, 2, kernel), _pair(scope, call, 3, (0, 0))
    _require_window(scope, call, kernel, stride, padding, (1, 1))
    divisor = kernel[0] * kernel[1]
    if not scope.is_absent(call, 6):
        divisor = scope.integer(call, 6)
    if divisor < 1:
        raise scope.wrong(call, f"divides by {divisor}")
    shape = _require_image(scope, call)
    if padding != (0, 0) and not _flag(scope, call, 5, True):
        raise RefusedError("count_include_pad=False with padding is not supported")
    windows = list(zip(shape[2:], kernel, stride, padding, (1, 1), strict=True))
    if _flag(scope, call, 4, False) and any(_end(*window) > window[3] for window in windows):
        raise RefusedError("ceil_mode with windows that reach over the edge is not supported")
    window = averages.Window(kernel, stride, padding, divisor)

    def of_piece(piece: Elementwise | Deferred) -> Deferred:
        channels = piece.shape[:2]
        try:
            image = piece.shape[2], piece.shape[3]
            size = output_size(image, kernel, stride, padding * 2, (1, 1))
        except GraphError as error:
            raise RefusedError(str(error)) from None

        def make(name: str, output: Quantization, functions: Functions) -> Stored:
            return averages.emit_window(scope, call, piece, window, name, output, functions)

        return Deferred((*channels, *size), make)

    return _each(scope.value(call, 0), (2, 3), of_piece)


def mean(scope: Scope, call: Call) -> Value:
    """x, axes (none: all), keepdim, type."""
    shape = shape_of(scope.value(call, 0))
    axes = () if scope.is_absent(call, 1) else scope.integers(call, 1)
    if any(not -len(shape) <= axis < len(shape) for axis in axes):
        raise scope.wrong(call, f"has axes {list(axes)} for rank {len(shape)}")
    reduced = tuple(sorted({axis % len(shape) for axis in axes})) or tuple(range(len(shape)))
    keep = _flag(scope, call, 2, False)

    def of_piece(piece: Elementwise | Deferred) -> Deferred:
        target = averages.reduced_shape(piece.shape, reduced, keep)
        made = averages.Mean(scope, call, piece, reduced, target)
        return Deferred(target, made.make, real=made.real)

    return _each(scope.value(call, 0), reduced, of_piece)


def _each(value: Value, axes: tuple[int, ...], of_piece: Piece) -> Value:
    """The value, or every piece of a concatenation along another axis, averaged."""
    if isinstance(value, Joined) and value.axis not in axes:
        pieces = tuple(of_piece(piece) for piece in value.pieces)
        sizes = [piece.shape for piece in pieces]
        if len({len(size) for size in sizes} | {len(value.shape)}) == 1:
            axis = value.axis
            whole = (*sizes[0][:axis], sum(s[axis] for s in sizes), *sizes[0][axis + 1 :])
            return Joined(pieces, axis, whole)
    if isinstance(value, Elementwise | Deferred):
        return of_piece(value)
    raise RefusedError("its input is not quantised")


def _require_image(scope: Scope, call: Call) -> Shape:
    shape = shape_of(scope.value(call, 0))
    if len(shape) != 4:
        raise RefusedError(f"its input has shape {list(shape)}; images have rank 4 here")
    return shape


def _require_window(
    scope: Scope, call: Call, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        raise scope.wrong(call, f"has kernel {kernel}, stride {stride}, padding {padding}")


def _pair(scope: Scope, call: Call, index: int, default: Pair) -> Pair:
    """Two whole numbers; the default where the list is empty or left out."""
    if scope.is_absent(call, index) or not scope.integers(call, index):
        return default
    return scope.pair(call, index)


def _flag(scope: Scope, call: Call, index: int, default: bool) -> bool:
    if scope.is_absent(call, index):
        return default
    return scope.number(call, index) != 0


HANDLERS = {
    "aten.max_pool2d_with_indices": max_pool,
    "aten.max_pool2d": max_pool,
    "aten.avg_pool2d": avg_pool,
    "aten.mean": mean,
}
