"""Float networks of networks.py as ncnn files: in float, or in int8 with scales of its own.

As ncnn's tools do it: weights and activations symmetric, one scale per output channel and per
tensor; what lies between two convolutions is int8, everything else (sums, pooling) float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper, shape_inference

from benchmarks.ncnn_files import (
    INT8_OUT,
    Layer,
    Value,
    convolution,
    float_weights,
    int8_form,
    int8_weights,
)
from vkbackend.errors import InputError

Float32 = npt.NDArray[np.float32]
GREATEST = 127.0
LINEAR_INT8 = 2
RELU: Mapping[int, Value] = {9: 1}
ACTIVATION, CLIP, CLIP_LIMITS = 9, 3, 10


def with_shape(model: onnx.ModelProto, shape: Sequence[int]) -> onnx.ModelProto:
    """The network for images of one shape, every tensor's shape filled in."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for dimension, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.ClearField("dim_param")
        dimension.dim_value = size
    return shape_inference.infer_shapes(fixed)


def ranges(model: onnx.ModelProto, images: Sequence[Float32]) -> dict[str, float]:
    """The greatest magnitude of every tensor over some images."""
    every = onnx.ModelProto()
    every.CopyFrom(model)
    known = {output.name for output in every.graph.output}
    names = [name for node in every.graph.node for name in node.output if name not in known]
    every.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(
        every.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = [output.name for output in session.get_outputs()]
    (x,) = (tensor.name for tensor in session.get_inputs())
    found: dict[str, float] = {x: 0.0}
    for image in images:
        found[x] = max(found[x], float(np.abs(image).max()))
        for name, values in zip(outputs, session.run(None, {x: image}), strict=True):
            found[name] = max(found.get(name, 0.0), float(np.abs(values).max()))
    return found


class Converter:
    """One network of one shape; `ranges` is None for a float one."""

    def __init__(self, model: onnx.ModelProto, ranges: Mapping[str, float] | None) -> None:
        self._graph = model.graph
        self._ranges = ranges
        self._constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self._shapes = {
            info.name: [d.dim_value for d in info.type.tensor_type.shape.dim]
            for info in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        }
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def layers(self) -> list[Layer]:
        """All layers in order; a clamp that only a convolution feeds is part of it."""
        (image,) = self._graph.input
        shape = self._shape(image.name)
        sizes: dict[int, Value] = dict(enumerate(shape))
        found = [Layer("Input", image.name, [], [image.name], shape, sizes)]
        fused: set[str] = set()
        for node in self._graph.node:
            if node.name in fused:
                continue
            if node.op_type == "Conv":
                clamp = self._clamp_behind(node)
                fused |= {clamp.name} if clamp is not None else set()
                found.append(self._convolution(node, clamp))
            else:
                found.append(self._other(node))
        return found

    def _shape(self, name: str) -> list[int]:
        """(w, h, c), or (c,) of a vector."""
        return list(reversed(self._shapes[name][1:]))

    def _clamp_behind(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        readers = self._readers.get(node.output[0], [])
        only = readers[0] if len(readers) == 1 else None
        return only if only is not None and only.op_type in ("Relu", "Clip") else None

    def _convolution(self, node: onnx.NodeProto, clamp: onnx.NodeProto | None) -> Layer:
        weight, bias = (self._constants[name] for name in node.input[1:3])
        y = (clamp or node).output[0]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        readers = self._readers.get(y, [])
        int8_out = bool(readers) and all(reader.op_type == "Conv" for reader in readers)
        groups = attributes["group"]
        form = int8_form(groups, int8_out=int8_out) if self._ranges else 0
        return convolution(
            node.name, node.input[0], y, self._shape(y), weight.shape,
            stride=attributes["strides"][0], pad=attributes["pads"][0], groups=groups, int8=form,
            weights=self._weights(weight, bias, node.input[0], y if form > INT8_OUT else None),
            activation=self._activation(clamp),
        )  # fmt: skip

    def _activation(self, clamp: onnx.NodeProto | None) -> Mapping[int, Value]:
        if clamp is None or clamp.op_type == "Relu":
            return RELU if clamp is not None else {}
        limits = [float(self._constants[name]) for name in clamp.input[1:3]]
        return {ACTIVATION: CLIP, CLIP_LIMITS: limits}

    def _weights(self, weight: Float32, bias: Float32, x: str, y: str | None) -> bytes:
        """As stored; in int8 with scales of weights, input and, where it is int8, output `y`."""
        if self._ranges is None:
            return float_weights(weight, bias)
        rows = weight.reshape(weight.shape[0], -1)
        scales = (GREATEST / np.maximum(np.abs(rows).max(axis=1), 1e-9)).astype(np.float32)
        stored = np.clip(np.rint(rows * scales[:, None]), -GREATEST, GREATEST).astype(np.int8)
        tensors = [x] if y is None else [x, y]
        return int8_weights(stored, bias, scales, [GREATEST / self._ranges[t] for t in tensors])

    def _other(self, node: onnx.NodeProto) -> Layer:
        known: dict[str, Callable[[onnx.NodeProto], tuple[str, Mapping[int, Value], bytes]]] = {
            "Add": lambda _: ("BinaryOp", {0: 0}, b""),
            "Relu": lambda _: ("ReLU", {}, b""),
            "Flatten": lambda _: ("Flatten", {}, b""),
            "GlobalAveragePool": lambda _: ("Pooling", {0: 1, 4: 1}, b""),
            "MaxPool": lambda node: ("Pooling", _max_pool(node), b""),
            "Gemm": self._linear,
        }
        if node.op_type not in known:
            raise InputError(f"{node.op_type} is not written as an ncnn layer here")
        kind, parameters, weights = known[node.op_type](node)
        inputs = [name for name in node.input if name not in self._constants]
        shape = self._shape(node.output[0])
        if node.op_type == "GlobalAveragePool":  # ncnn gives a vector
            shape = shape[-1:]
        return Layer(kind, node.name, inputs, list(node.output), shape, parameters, weights)

    def _linear(self, node: onnx.NodeProto) -> tuple[str, Mapping[int, Value], bytes]:
        weight, bias = (self._constants[name] for name in node.input[1:3])
        parameters: dict[int, Value] = {0: weight.shape[0], 1: 1, 2: weight.size}
        if self._ranges is not None:
            parameters[8] = LINEAR_INT8
        return "InnerProduct", parameters, self._weights(weight, bias, node.input[0], None)


def _max_pool(node: onnx.NodeProto) -> Mapping[int, Value]:
    """Kernel, stride, padding; sizes rounded down as ONNX has them."""
    attributes: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    sizes = (attributes[name][0] for name in ("kernel_shape", "strides", "pads"))
    return {0: 0, **dict(zip((1, 2, 3), sizes, strict=True)), 5: 1}
