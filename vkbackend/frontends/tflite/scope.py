"""The state of one conversion, and what every handler asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vkbackend.errors import GraphError, VkBackendError
from vkbackend.frontends.tflite.reader import TfliteModel, TfliteOperator, TfliteTensor
from vkbackend.frontends.tflite.views import View, logical
from vkbackend.graph import RANGES, Array, GraphBuilder, Quantization, Shape, TensorType
from vkbackend.layouts import Dims, dims_of
from vkbackend.ops.base import Operator
from vkbackend.ops.constant import Constant
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.reshape import Reshape
from vkbackend.ops.strided_copy import Part, StridedCopy
from vkbackend.quant.affine import every_value


class RefusedError(VkBackendError):
    """Why one operator cannot be converted; collected, and raised together."""


@dataclass(frozen=True)
class Padded:
    """PAD of a graph tensor: a convolution behind it takes the pads as its own.

    `begin` and `end` are (n, c, h, w).
    """

    source: str
    begin: Dims
    end: Dims


Value = View | Padded


class Scope:
    """What each tensor of the file is in the graph, and the graph built so far."""

    def __init__(self, model: TfliteModel) -> None:
        self.model = model
        self.builder = GraphBuilder()
        self.values: dict[int, Value] = {}
        self.producers: dict[int, TfliteOperator] = {
            index: operator for operator in model.operators for index in operator.outputs
        }
        self._materialised: dict[int, str] = {}
        self._names = {tensor.name for tensor in model.tensors}

    # -- what the file says ----------------------------------------------------------------------

    def tensor(self, node: TfliteOperator, position: int) -> TfliteTensor:
        """An input. Raises RefusedError where it is omitted."""
        if not node.has_input(position):
            raise RefusedError(f"input {position} is missing")
        return self.model.tensors[node.inputs[position]]

    def output(self, node: TfliteOperator, position: int = 0) -> TfliteTensor:
        """An output. Raises RefusedError where it is missing."""
        if position >= len(node.outputs):
            raise RefusedError(f"output {position} is missing")
        return self.model.tensors[node.outputs[position]]

    def array(self, node: TfliteOperator, position: int) -> Array:
        """A constant input. Raises RefusedError where the network computes it."""
        tensor = self.tensor(node, position)
        if tensor.data is None or tensor.is_sparse:
            how = "sparse" if tensor.is_sparse else "computed by the network"
            raise RefusedError(f"input {tensor.name!r} is {how}; only a dense constant is taken")
        return tensor.data

    def integers(self, node: TfliteOperator, position: int) -> list[int]:
        """A constant input of whole numbers. Raises RefusedError."""
        array = self.array(node, position)
        if array.dtype.kind != "i":
            raise RefusedError(f"input {position} is {array.dtype}, not of whole numbers")
        return [int(value) for value in array.reshape(-1)]

    def shape(self, node: TfliteOperator, position: int, declared: Sequence[int]) -> list[int]:
        """An input that states a shape; the declared one where the network computes it."""
        is_constant = self.tensor(node, position).data is not None
        return self.integers(node, position) if is_constant else list(declared)

    # -- tensors of the graph --------------------------------------------------------------------

    def view(self, node: TfliteOperator, position: int) -> View:
        """An input as a view of a graph tensor of the input's own quantisation."""
        tensor = self.tensor(node, position)
        value = self.values.get(tensor.index)
        types = self.builder.types
        if isinstance(value, View) and types[value.source].quantization == self._declared(tensor):
            return value
        return View.whole(self.stored(node, position), tensor.shape)

    def stored(self, node: TfliteOperator, position: int) -> str:
        """The graph tensor of an input: what was only described is made now."""
        return self.materialise(self.tensor(node, position))

    def materialise(self, tensor: TfliteTensor, name: str | None = None) -> str:
        """The graph tensor that holds this tensor as declared; under `name` where one is given."""
        made = self._materialised.get(tensor.index)
        if made is None or name not in (None, made):
            made = self._materialised[tensor.index] = self._materialise(tensor, name)
        return made

    def _materialise(self, tensor: TfliteTensor, name: str | None) -> str:
        wanted = self.type_of(tensor)
        value = self.values.get(tensor.index)
        if value is None:
            return self._constant(tensor, wanted)
        label = self._label(tensor)
        source = self.builder.types[value.source]
        same_type = source.quantization == wanted.quantization
        in_order = isinstance(value, View) and value.in_order
        if in_order and source.shape == wanted.shape:
            if same_type and name in (None, value.source):
                return value.source
            op: Operator = Reshape(kept_batch(source.shape, wanted.shape))
        elif in_order and dims_of(source.shape) == dims_of(wanted.shape):
            op = Reshape(kept_batch(source.shape, wanted.shape))
        elif isinstance(value, Padded):
            op = self._pad_operator(value, wanted)
        else:
            part = self.part(value, dims_of(wanted.shape))
            op = StridedCopy(wanted.shape, (part,), label.rpartition("_")[0])
        target = name or self.fresh(tensor.name)
        if same_type:
            self.append(label, op, [value.source], target)
            return target
        copied = self.fresh(f"{tensor.name}.copied")
        self.append(label, op, [value.source], copied)
        # The same bytes under the quantisation that the file declares behind the operator.
        table = {"table": every_value(wanted.quantized)}
        self.append(label, Lookup(wanted.quantized, "relabel"), [copied], target, table)
        return target

    def _pad_operator(self, value: Padded, wanted: TensorType) -> StridedCopy:
        """The copy that puts zero points around a tensor."""
        source = self.builder.types[value.source]
        view = View.whole(value.source, source.shape)
        part = self.part(view, dims_of(source.shape), value.begin)
        return StridedCopy(wanted.shape, (part,), "pad", source.quantized.zero_point)

    def part(self, view: View, size: Dims, begin: Dims = (0, 0, 0, 0)) -> Part:
        """The view as a box (n, c, h, w) of a copy's output."""
        source = dims_of(self.builder.types[view.source].shape)
        return Part(source, begin, size, view.digits, view.offset)

    def copy(self, name: str, view: View, shape: Shape, function: str, output: str) -> str:
        """Appends the copy of a view as a tensor of that shape (n, c, h, w); its name."""
        made = self.fresh(output)
        op = StridedCopy(shape, (self.part(view, dims_of(shape)),), function)
        self.append(name, op, [view.source], made)
        return made

    def _constant(self, tensor: TfliteTensor, wanted: TensorType) -> str:
        if tensor.data is None or tensor.is_sparse:
            raise RefusedError(f"input {tensor.name!r} is made by no operator")
        values = tensor.data
        values = np.moveaxis(values, -1, 1) if values.ndim > 2 else values
        name = self.fresh(tensor.name)
        self.append(name, Constant(wanted.quantized), [], name, {"values": values})
        return name

    def _label(self, tensor: TfliteTensor) -> str:
        producer = self.producers.get(tensor.index)
        return producer.name if producer else f"input_{tensor.index}"

    def type_of(self, tensor: TfliteTensor) -> TensorType:
        """Type as the graph has it: NCHW order. Raises RefusedError on what it has not."""
        if tensor.dtype not in (*RANGES, "float32"):
            raise RefusedError(
                f"tensor {tensor.name!r} is {tensor.dtype}; int8, uint8 and float32 are supported"
            )
        if len(tensor.shape) > 4:
            raise RefusedError(f"tensor {tensor.name!r} has rank {len(tensor.shape)}, more than 4")
        try:
            return TensorType(logical(tensor.shape), self._declared(tensor))
        except GraphError as error:
            raise RefusedError(f"tensor {tensor.name!r}: {error}") from error

    def _declared(self, tensor: TfliteTensor) -> Quantization | None:
        return None if tensor.dtype == "float32" else self.quantization(tensor)

    def quantization(self, tensor: TfliteTensor) -> Quantization:
        """The one scale and zero point of an activation. Raises RefusedError."""
        if tensor.dtype not in RANGES or tensor.scales.size != 1:
            raise RefusedError(
                f"tensor {tensor.name!r} is {tensor.dtype} with {tensor.scales.size} scales; "
                "activations are int8 or uint8 with one"
            )
        try:
            return Quantization(float(tensor.scales[0]), int(tensor.zero_points[0]), tensor.dtype)
        except GraphError as error:
            raise RefusedError(f"tensor {tensor.name!r}: {error}") from error

    # -- building --------------------------------------------------------------------------------

    def append(
        self,
        name: str,
        op: Operator,
        inputs: Sequence[str],
        output: str,
        constants: Mapping[str, Array] | None = None,
    ) -> None:
        """Appends a node. Raises RefusedError where the operator does not take these inputs."""
        try:
            self.builder.add(name, op, inputs, output, constants)
        except GraphError as error:
            # The operator's label repeats what the list of refused operators says already.
            raise RefusedError(str(error).removeprefix(f"{op.kind} {name!r}: ")) from error
        self._names.add(output)

    def emit(
        self,
        node: TfliteOperator,
        op: Operator,
        inputs: Sequence[str],
        constants: Mapping[str, Array] | None = None,
        *,
        shape: Shape | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        """Appends the node that computes the operator's first output.

        `shape` (TensorFlow Lite's axis order, the elements in the same order) and `quantization`
        are what the node makes where that is not what the file declares. Raises RefusedError where
        the node makes something else.
        """
        tensor = self.output(node)
        declared = self.type_of(tensor).quantization
        own = shape in (None, tensor.shape) and quantization in (None, declared)
        name = self.fresh(tensor.name if own else f"{tensor.name}.{op.kind}")
        self.append(node.name, op, inputs, name, constants)
        made = self.builder.types[name]
        if made.shape != logical(shape or tensor.shape):
            raise RefusedError(f"makes {made}, the file declares {tensor}")
        self.values[tensor.index] = View.whole(name, tensor.shape)

    def fresh(self, wanted: str) -> str:
        """A tensor name that the graph has not; the file's own where nothing has taken it."""
        if wanted not in self.builder.types:
            return wanted
        count = 2
        while f"{wanted}.{count}" in self._names:
            count += 1
        self._names.add(f"{wanted}.{count}")
        return f"{wanted}.{count}"


def kept_batch(old: Shape, new: Shape) -> Shape:
    """The new shape as operator `reshape` takes it, its batch the input's where it was before."""
    return (0, *new[1:]) if old and new and old[0] == new[0] else new
