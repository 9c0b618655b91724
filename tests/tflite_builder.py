"""Builds .tflite files in memory: what the tests of the frontend read, and LiteRT runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vkbackend.graph import Array, Quantization

Scales = float | Sequence[float] | Array
# The enumeration of fused activations, by the names that the frontend knows.
ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
SAME, VALID = 0, 1


@dataclass
class _Tensor:
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: Array
    zero_point: Array
    axis: int
    data: Array | None


@dataclass
class _Operator:
    type: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: str
    fields: dict[str, Any]


@dataclass
class TfliteBuilder:
    """Tensors by index and operators in order; `build` writes the file."""

    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)

    def tensor(
        self,
        shape: Sequence[int],
        quantization: Quantization | None = None,
        *,
        dtype: str | None = None,
        name: str | None = None,
    ) -> int:
        """An activation; its index. float32 where neither a quantisation nor a dtype is given."""
        scale, zero_point = np.empty(0, np.float32), np.empty(0, np.int64)
        if quantization is not None:
            scale = np.array([quantization.scale], np.float32)
            zero_point = np.array([quantization.zero_point], np.int64)
            dtype = quantization.dtype
        return self._add(name, tuple(shape), dtype or "float32", scale, zero_point, 0, None)

    def constant(
        self,
        data: Array,
        scale: Scales = (),
        zero_point: int | Sequence[int] = (),
        *,
        axis: int = 0,
        name: str | None = None,
    ) -> int:
        """A tensor whose values stand in the file; its index."""
        scales = np.array(scale, np.float32).reshape(-1)
        points = np.array(zero_point, np.int64).reshape(-1)
        if scales.size and not points.size:
            points = np.zeros(scales.size, np.int64)
        return self._add(name, data.shape, data.dtype.name, scales, points, axis, data)

    def operator(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int] | int,
        options: str = "",
        **fields: Any,
    ) -> int:
        """An operator with the fields of its options table; its first output."""
        made = [outputs] if isinstance(outputs, int) else list(outputs)
        self.operators.append(_Operator(kind, list(inputs), made, options, fields))
        return made[0]

    def _add(self, name: str | None, *rest: Any) -> int:
        self.tensors.append(_Tensor(name or f"t{len(self.tensors)}", *rest))
        return len(self.tensors) - 1

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        import flatbuffers
        import tflite

        writer = _Writer(flatbuffers.Builder(1024), tflite)
        buffers = [writer.buffer(None)]
        tensors = []
        for tensor in self.tensors:
            number = 0
            if tensor.data is not None:
                number = len(buffers)
                buffers.append(writer.buffer(tensor.data))
            tensors.append(writer.tensor(tensor, number))
        kinds = list(dict.fromkeys(operator.type for operator in self.operators))
        operators = [writer.operator(each, kinds.index(each.type)) for each in self.operators]
        codes = [writer.code(kind) for kind in kinds]
        return writer.model(tensors, operators, codes, buffers, inputs, outputs)


class _Writer:
    """One flatbuffer in the making; every method gives the offset of what it wrote."""

    def __init__(self, builder: Any, library: Any) -> None:
        self.b, self.t = builder, library

    def buffer(self, data: Array | None) -> int:
        vector = None
        if data is not None:
            vector = self.b.CreateByteVector(np.ascontiguousarray(data).tobytes())
        return self.table("Buffer", Data=vector)

    def tensor(self, tensor: _Tensor, buffer: int) -> int:
        quantization = None
        if tensor.scale.size:
            quantization = self.table(
                "QuantizationParameters",
                Scale=self.numbers(tensor.scale),
                ZeroPoint=self.numbers(tensor.zero_point),
                QuantizedDimension=tensor.axis,
            )
        return self.table(
            "Tensor",
            Shape=self.numbers(np.array(tensor.shape, np.int32)),
            Type=getattr(self.t.TensorType, tensor.dtype.upper()),
            Buffer=buffer,
            Name=self.b.CreateString(tensor.name),
            Quantization=quantization,
        )

    def operator(self, operator: _Operator, code: int) -> int:
        options, kind = None, 0
        if operator.options:
            options = self.table(operator.options, **operator.fields)
            kind = getattr(self.t.BuiltinOptions, operator.options)
        return self.table(
            "Operator",
            OpcodeIndex=code,
            Inputs=self.numbers(np.array(operator.inputs, np.int32)),
            Outputs=self.numbers(np.array(operator.outputs, np.int32)),
            BuiltinOptionsType=kind,
            BuiltinOptions=options,
        )

    def code(self, kind: str) -> int:
        number = getattr(self.t.BuiltinOperator, kind)
        # Old readers know codes up to 127, in a field of their own.
        return self.table(
            "OperatorCode", BuiltinCode=number, DeprecatedBuiltinCode=min(number, 127), Version=1
        )

    def model(
        self,
        tensors: list[int],
        operators: list[int],
        codes: list[int],
        buffers: list[int],
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> bytes:
        subgraph = self.table(
            "SubGraph",
            Tensors=self.offsets(tensors),
            Inputs=self.numbers(np.array(inputs, np.int32)),
            Outputs=self.numbers(np.array(outputs, np.int32)),
            Operators=self.offsets(operators),
        )
        root = self.table(
            "Model",
            Version=3,
            OperatorCodes=self.offsets(codes),
            Subgraphs=self.offsets([subgraph]),
            Buffers=self.offsets(buffers),
        )
        self.b.Finish(root, file_identifier=b"TFL3")
        return bytes(self.b.Output())

    def table(self, kind: str, **fields: Any) -> int:
        getattr(self.t, f"{kind}Start")(self.b)
        for name, value in fields.items():
            if value is not None:
                getattr(self.t, f"{kind}Add{name}")(self.b, value)
        written: int = getattr(self.t, f"{kind}End")(self.b)
        return written

    def numbers(self, values: Array) -> int:
        vector: int = self.b.CreateNumpyVector(values)
        return vector

    def offsets(self, offsets: list[int]) -> int:
        self.b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.b.PrependUOffsetTRelative(offset)
        vector: int = self.b.EndVector()
        return vector
