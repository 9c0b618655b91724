"""The network's inputs: their shape at each trial, and the quantisation of those in 8 bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vkbackend.errors import GraphError, InputError, UnsupportedError
from vkbackend.frontends.onnx.reader import OnnxInput, OnnxModel, OnnxNode
from vkbackend.graph import RANGES, Quantization, Shape, TensorType

# Quantised operators whose names do not begin with QLinear.
_READERS = ("DequantizeLinear", "QGemm")
# The first trial is what was asked for, the second has more images, the third larger ones too.
TRIALS = 3
IMAGE_SIZE = 224  # of an image whose height or width the file leaves open
_GROWTH = 32  # what keeps all halves of a size whole


def input_types(
    model: OnnxModel, entry: OnnxInput, batch_size: int, shapes: Mapping[str, Sequence[int]]
) -> tuple[TensorType, ...]:
    """Type of one input at each trial. Raises UnsupportedError and InputError."""
    where = f"{model.source}: input {entry.name!r}"
    if entry.dtype not in (*RANGES, "float32"):
        raise UnsupportedError(
            f"{where} is {entry.dtype}; inputs are float32, int8 or uint8: "
            "export the network with one of these, or cut that part of it off"
        )
    shape = _shape(where, entry, batch_size, shapes.get(entry.name))
    quantization = None
    if entry.dtype != "float32":
        # Where nothing reads it as a real number, its bytes are only moved: any scale will do.
        stated = _stated(model, entry.name, entry.dtype)
        quantization = stated or Quantization(1.0, 0, entry.dtype)
    return tuple(TensorType(each, quantization) for each in (shape, *_others(entry, shape)))


def _shape(where: str, entry: OnnxInput, batch_size: int, asked: Sequence[int] | None) -> Shape:
    """What the file fixes, what was asked for, or a size that is as good as any other."""
    if entry.shape is None:
        if asked is None:
            raise UnsupportedError(
                f"{where} has no shape; give one, shapes={{{entry.name!r}: ...}}"
            )
        return tuple(asked)
    shown = f"[{', '.join(map(str, entry.shape))}]"
    if len(entry.shape) > 4:
        raise UnsupportedError(f"{where} has shape {shown}; tensors have at most 4 dimensions here")
    if asked is not None:
        fits = len(asked) == len(entry.shape) and all(
            isinstance(size, str) or size == want
            for size, want in zip(entry.shape, asked, strict=True)
        )
        if not fits or min(asked, default=1) < 1:
            raise InputError(f"{where} has shape {shown}, {list(asked)} was asked for")
        return tuple(int(size) for size in asked)
    if len(entry.shape) == 4 and isinstance(entry.shape[1], str) and not _is_image_last(entry):
        raise UnsupportedError(
            f"{where} has shape {shown}: the number of channels must be known; "
            f"give it, shapes={{{entry.name!r}: ...}}"
        )
    fixed = tuple(
        size if isinstance(size, int) else IMAGE_SIZE if axis else batch_size
        for axis, size in enumerate(entry.shape)
    )
    if batch_size != 1 and fixed and fixed[0] != batch_size:
        raise UnsupportedError(
            f"{where} has shape {shown}: the file fixes its batch at {fixed[0]}, batch_size="
            f"{batch_size} was asked for; export it with a symbolic batch, or leave batch_size out"
        )
    return fixed


def _is_image_last(entry: OnnxInput) -> bool:
    """Whether the last axis is the only one that can be channels: (n, h, w, 3)."""
    assert entry.shape is not None
    return isinstance(entry.shape[-1], int)


def _others(entry: OnnxInput, shape: Shape) -> list[Shape]:
    """The other trials: one image more; and larger images, every open axis by another amount."""
    if not shape:
        return [shape] * (TRIALS - 1)
    more = shape[0] + 1, *shape[1:]
    stated = entry.shape or ("?",) * len(shape)
    is_open = [isinstance(size, str) for size in stated]
    if not any(is_open[1:]):
        # A file with fixed sizes may still allow others: those of the image are tried.
        is_open = [axis >= 2 for axis in range(len(shape))]
    names = [size for size in stated if isinstance(size, str)]
    larger = [shape[0] + 1]
    for axis in range(1, len(shape)):
        size = stated[axis]
        step = names.index(size) if isinstance(size, str) and size != "?" else axis
        larger.append(shape[axis] + (_GROWTH * (step + 1) if is_open[axis] else 0))
    return [more, tuple(larger)]


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
        if node.op_type == "Cast":
            return None  # numbers as they are: a scale of 1
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
