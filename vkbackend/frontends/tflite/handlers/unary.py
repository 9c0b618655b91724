"""Functions of one tensor: tables, softmax, and the way to and from float."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vkbackend.frontends.tflite.reader import TfliteOperator
from vkbackend.frontends.tflite.scope import RefusedError, Scope
from vkbackend.graph import Array, Quantization
from vkbackend.ops.dequantize import Dequantize
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.quantize import Quantize
from vkbackend.ops.softmax import Softmax
from vkbackend.quant import tflite
from vkbackend.quant.tflite_softmax import exponentials

Table = Callable[[Quantization, Quantization], Array]
PROBABILITY_SCALE = 1 / 256


def relu(scope: Scope, node: TfliteOperator) -> None:
    """max(x, 0)."""
    _table(scope, node, lambda x, y: tflite.relu_table(x, y, "RELU"))


def relu6(scope: Scope, node: TfliteOperator) -> None:
    """max(min(x, 6), 0)."""
    _table(scope, node, lambda x, y: tflite.relu_table(x, y, "RELU6"))


def leaky_relu(scope: Scope, node: TfliteOperator) -> None:
    """x, or alpha * x below zero."""
    alpha = node.real("alpha")
    _table(scope, node, lambda x, y: tflite.leaky_relu_table(x, y, alpha))


def logistic(scope: Scope, node: TfliteOperator) -> None:
    """1 / (1 + exp(-x)); the kernel takes no other output scale than 1 / 256."""
    if scope.quantization(scope.output(node)).scale != PROBABILITY_SCALE:
        raise RefusedError("the output's scale is not 1 / 256")
    _table(scope, node, tflite.logistic_table)


def tanh(scope: Scope, node: TfliteOperator) -> None:
    """The hyperbolic tangent."""
    _table(scope, node, tflite.tanh_table)


def hard_swish(scope: Scope, node: TfliteOperator) -> None:
    """x * min(max(x + 3, 0), 6) / 6."""
    _table(scope, node, tflite.hard_swish_table)


def softmax(scope: Scope, node: TfliteOperator) -> None:
    """Over the last axis: the channels."""
    x = scope.quantization(scope.tensor(node, 0))
    output = scope.quantization(scope.output(node))
    if x.dtype != output.dtype:
        raise RefusedError(f"the input is {x.dtype}, the output {output.dtype}")
    table = exponentials(x.scale, node.real("beta"))
    scope.emit(node, Softmax(output), [scope.stored(node, 0)], {"exponentials": table})


def quantize(scope: Scope, node: TfliteOperator) -> None:
    """From float32, or from one quantisation to another."""
    output = scope.quantization(scope.output(node))
    if scope.tensor(node, 0).dtype == "float32":
        scope.emit(node, Quantize(output, halves_away=True), [scope.stored(node, 0)])
    else:
        _table(scope, node, tflite.requantize_table, same_type=False)


def dequantize(scope: Scope, node: TfliteOperator) -> None:
    """To float32."""
    if scope.output(node).dtype != "float32":
        raise RefusedError(f"makes {scope.output(node).dtype}; float32 is supported")
    scope.quantization(scope.tensor(node, 0))
    scope.emit(node, Dequantize(), [scope.stored(node, 0)])


def _table(scope: Scope, node: TfliteOperator, table: Table, *, same_type: bool = True) -> None:
    x = scope.quantization(scope.tensor(node, 0))
    output = scope.quantization(scope.output(node))
    if same_type and x.dtype != output.dtype:
        raise RefusedError(f"the input is {x.dtype}, the output {output.dtype}")
    values = np.asarray(table(x, output))
    op = Lookup(output, node.kind.lower())
    scope.emit(node, op, [scope.stored(node, 0)], {"table": values})


HANDLERS = {
    "DEQUANTIZE": dequantize,
    "HARD_SWISH": hard_swish,
    "LEAKY_RELU": leaky_relu,
    "LOGISTIC": logistic,
    "QUANTIZE": quantize,
    "RELU": relu,
    "RELU6": relu6,
    "SOFTMAX": softmax,
    "TANH": tanh,
}
