"""The network's inputs: fixed shapes, and the quantisation of those that are int8 or uint8."""

from __future__ import annotations

from vkbackend.errors import GraphError, UnsupportedError
from vkbackend.frontends.onnx.reader import OnnxInput, OnnxModel, OnnxNode
from vkbackend.graph import RANGES, Quantization, Shape, TensorType

# Quantised operators whose names do not begin with QLinear.
_READERS = ("DequantizeLinear", "QGemm")


def input_type(model: OnnxModel, entry: OnnxInput, batch_size: int) -> TensorType:
    """Type of one input, its symbolic batch dimension fixed. Raises UnsupportedError."""
    where = f"{model.source}: input {entry.name!r}"
    if entry.dtype not in (*RANGES, "float32"):
        raise UnsupportedError(
            f"{where} is {entry.dtype}; inputs are float32, int8 or uint8: "
            "export the network with one of these, or cut that part of it off"
        )
    shape = _fixed_shape(where, model.source, entry, batch_size)
    if entry.dtype == "float32":
        return TensorType(shape)
    # Where nothing reads it as a real number, its bytes are only moved: any scale will do.
    stated = _stated(model, entry.name, entry.dtype)
    return TensorType(shape, stated or Quantization(1.0, 0, entry.dtype))


def _fixed_shape(where: str, source: str, entry: OnnxInput, batch_size: int) -> Shape:
    if entry.shape is None:
        raise UnsupportedError(f"{where} has no shape; export the network with a fixed input size")
    shown = f"[{', '.join(map(str, entry.shape))}]"
    symbolic = [axis for axis, size in enumerate(entry.shape) if isinstance(size, str)]
    if symbolic and symbolic != [0]:
        sizes = [size if isinstance(size, int) else 224 for size in entry.shape]
        sizes[0] = batch_size if 0 in symbolic else sizes[0]
        example = ",".join(map(str, sizes))
        file = source if source.endswith(".onnx") else "net.onnx"
        raise UnsupportedError(
            f"{where} has shape {shown}: only its first dimension, the batch, may be symbolic; "
            "fix the others, for example with: python -m "
            f"onnxruntime.tools.make_dynamic_shape_fixed --input_name {entry.name} "
            f"--input_shape {example} {file} fixed.onnx"
        )
    fixed = tuple(batch_size if isinstance(size, str) else size for size in entry.shape)
    if batch_size != 1 and fixed and fixed[0] != batch_size:
        raise UnsupportedError(
            f"{where} has shape {shown}: the file fixes its batch at {fixed[0]}, batch_size="
            f"{batch_size} was asked for; export it with a symbolic batch, or leave batch_size out"
        )
    if len(fixed) > 4:
        raise UnsupportedError(f"{where} has shape {shown}; tensors have at most 4 dimensions here")
    return fixed


def _stated(model: OnnxModel, tensor: str, dtype: str) -> Quantization | None:
    """The quantisation that the first reader of a tensor states, through nodes that move bytes.

    In every quantised operator of ONNX and com.microsoft a tensor's scale and zero point are the
    two inputs behind it.
    """
    names = {tensor}
    for node in model.nodes:
        found = [name for name in node.inputs if name in names]
        if not found:
            continue
        if not (node.op_type.startswith("QLinear") or node.op_type in _READERS):
            names.update(name for name in node.outputs[:1] if name)
            continue
        quantization = _stated_by(model, node, node.inputs.index(found[0]), dtype)
        if quantization is not None:
            return quantization
    return None


def _stated_by(model: OnnxModel, node: OnnxNode, at: int, dtype: str) -> Quantization | None:
    scale, zero_point = (
        model.constants.get(node.inputs[index]) if node.has_input(index) else None
        for index in (at + 1, at + 2)
    )
    if scale is None or scale.size != 1 or (zero_point is not None and zero_point.size != 1):
        return None
    try:
        zero = int(zero_point.reshape(-1)[0]) if zero_point is not None else 0
        return Quantization(float(scale.reshape(-1)[0]), zero, dtype)
    except GraphError:
        return None  # the node's own handler says what is wrong with it
