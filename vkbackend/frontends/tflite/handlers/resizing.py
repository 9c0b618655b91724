"""RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR."""

from __future__ import annotations

from collections.abc import Callable

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.ops.resize import Resize
from vkbackend.quant import tflite_resize
from vkbackend.quant.requantize_fixed import Int32

Rule = Callable[..., Int32]


def resize_nearest_neighbor(scope: Scope, node: TfliteOperator) -> None:
    """Each pixel from the nearest."""
    _resize(scope, node, Resize("nearest"), tflite_resize.nearest)


def resize_bilinear(scope: Scope, node: TfliteOperator) -> None:
    """Each pixel from the four around: in integers for int8, in float32 for uint8."""
    if scope.tensor(node, 0).dtype == "uint8":
        _resize(scope, node, Resize("bilinear", "float"), tflite_resize.bilinear_float)
    else:
        _resize(scope, node, Resize("bilinear"), tflite_resize.bilinear_integer)


def _resize(scope: Scope, node: TfliteOperator, op: Resize, rule: Rule) -> None:
    source = scope.stored(node, 0)
    x, shape = scope.builder.types[source], scope.output(node).shape
    sizes = scope.shape(node, 1, shape[1:3])
    if len(x.shape) != 4 or len(shape) != 4 or sizes != list(shape[1:3]):
        raise RefusedError(f"sizes {sizes} of {x} do not make {list(shape)}")
    align_corners = bool(node.integer("align_corners"))
    half_pixel = bool(node.integer("half_pixel_centers"))
    rows, columns = (
        rule(x.shape[axis], shape[axis - 1], align_corners=align_corners, half_pixel=half_pixel)
        for axis in (2, 3)
    )
    constants = {"rows": rows, "columns": columns}
    scope.emit(node, op, [source], constants, quantization=x.quantized)


HANDLERS = {
    "RESIZE_BILINEAR": resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest_neighbor,
}
