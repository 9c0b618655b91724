"""An ONNX file as small typed records: what the rest of the frontend reads instead of protobuf."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from vkbackend.errors import FormatError, VkBackendError
from vkbackend.graph import Array

if TYPE_CHECKING:
    import onnx

STANDARD_DOMAINS = ("", "ai.onnx")
MICROSOFT_DOMAIN = "com.microsoft"
_LARGEST_MESSAGE = 2**31  # bytes; protobuf writes no larger one, and the checker wants it written


@dataclass(frozen=True, eq=False)
class OnnxNode:
    """One node. An omitted optional input is an empty name; `domain` is "" for ONNX's own."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Name and operator type, as messages begin."""
        domain = f"{self.domain}." if self.domain else ""
        return f"{self.name!r} ({domain}{self.op_type})"

    def has_input(self, index: int) -> bool:
        """Whether that input is there and not omitted."""
        return index < len(self.inputs) and bool(self.inputs[index])

    def integer(self, name: str, default: int) -> int:
        """An integer attribute. Raises FormatError where it is of another type."""
        return int(self._attribute(name, default, int))

    def real(self, name: str, default: float) -> float:
        """A float attribute, as the float32 that the file holds. Raises FormatError."""
        return float(self._attribute(name, default, (int, float)))

    def text(self, name: str, default: str) -> str:
        """A string attribute. Raises FormatError where it is of another type."""
        return str(self._attribute(name, default, str))

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of integers, or None where it is not given. Raises FormatError."""
        values = self._attribute(name, None, (list, tuple))
        if values is None:
            return None
        if not all(isinstance(value, int) for value in values):
            raise FormatError(f"{self.label}: attribute {name} is a list of integers")
        return tuple(values)

    def _attribute(self, name: str, default: Any, kind: Any) -> Any:
        value = self.attributes.get(name, default)
        if value is not default and not isinstance(value, kind):
            raise FormatError(
                f"{self.label}: attribute {name} has the wrong type {type(value).__name__}"
            )
        return value


@dataclass(frozen=True)
class OnnxInput:
    """A network input: NumPy's name of its type, and its dimensions (a text where symbolic)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True)
class OnnxModel:
    """A network: nodes in order; constants by tensor name (initializers and Constant nodes)."""

    source: str
    inputs: tuple[OnnxInput, ...]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    constants: Mapping[str, Array]
    opset: int

    def producers(self) -> dict[str, OnnxNode]:
        """The node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}


def import_onnx() -> ModuleType:
    """The onnx package. Raises VkBackendError that says how to get it."""
    try:
        import onnx
        import onnx.inliner
    except ImportError as error:
        raise VkBackendError(
            f"reading ONNX files needs the onnx package, which cannot be imported ({error}): "
            'pip install "vkbackend[onnx]"'
        ) from error
    return onnx


def read(source: str | os.PathLike[str] | onnx.ModelProto) -> OnnxModel:
    """Loads, checks and simplifies a file (external data too) or a model in memory.

    Raises FormatError on a damaged file, OSError on one that cannot be opened.
    """
    library = import_onnx()
    if isinstance(source, library.ModelProto):
        name, model = "the ONNX model", source
        _refuse_external(library, model)
    else:
        name = str(source)
        model = _load(library, Path(source))
    _check(library, name, model)
    if model.functions:
        model = library.inliner.inline_local_functions(model)
    try:
        return _typed(library, name, model)
    except FormatError:
        raise
    except Exception as error:  # tensors of broken size, type or location: onnx raises many kinds
        raise FormatError(f"{name}: {_one_line(error)}; export the network again") from error


def _load(library: ModuleType, path: Path) -> Any:
    """The file with its external data. Raises FormatError, OSError where it cannot be opened."""
    with path.open("rb"):
        pass
    try:
        return library.load(path)
    except Exception as error:  # protobuf and onnx raise a family of unrelated types
        raise FormatError(
            f"{path}: not an ONNX model, or a damaged one: {_one_line(error)}; "
            "export or download it again"
        ) from error


def _refuse_external(library: ModuleType, model: Any) -> None:
    """FormatError where weights of a model in memory were left in their files."""
    for tensor in model.graph.initializer:
        if tensor.data_location == library.TensorProto.EXTERNAL:
            raise FormatError(
                f"the ONNX model: the values of {tensor.name!r} were left in a file beside it: "
                "pass the path of the .onnx file, or onnx.load(path) with its external data"
            )


def _check(library: ModuleType, name: str, model: Any) -> None:
    """The onnx package's checker; its complaint as FormatError."""
    if model.ByteSize() >= _LARGEST_MESSAGE:
        return
    # It wants shapes of outputs too, which ONNX Runtime and this package do without.
    infos = (*model.graph.input, *model.graph.output)
    tensors = [info.type.tensor_type for info in infos if info.type.HasField("tensor_type")]
    shapeless = [tensor for tensor in tensors if not tensor.HasField("shape")]
    for tensor in shapeless:
        tensor.shape.SetInParent()
    try:
        library.checker.check_model(model)
    except Exception as error:
        raise FormatError(
            f"{name}: not a valid ONNX model: {_one_line(error)}; export or download it again"
        ) from error
    finally:
        for tensor in shapeless:
            tensor.ClearField("shape")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _typed(library: ModuleType, name: str, model: Any) -> OnnxModel:
    constants = {tensor.name: _array(library, tensor) for tensor in model.graph.initializer}
    nodes = []
    for proto in model.graph.node:
        node = _node(library, proto)
        array = _constant_of(node)
        if array is None:
            nodes.append(node)
        else:
            constants[node.outputs[0]] = array
    inputs = tuple(
        _input(library, info) for info in model.graph.input if info.name not in constants
    )
    outputs = tuple(info.name for info in model.graph.output)
    opsets = [entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    return OnnxModel(name, inputs, outputs, tuple(nodes), constants, max(opsets, default=1))


def _node(library: ModuleType, proto: Any) -> OnnxNode:
    domain = "" if proto.domain in STANDARD_DOMAINS else proto.domain
    first_output = next((name for name in proto.output if name), "")
    return OnnxNode(
        proto.name or f"{proto.op_type}_{first_output}",
        proto.op_type,
        domain,
        tuple(proto.input),
        tuple(proto.output),
        {attribute.name: _attribute(library, attribute) for attribute in proto.attribute},
    )


def _attribute(library: ModuleType, proto: Any) -> Any:
    value = library.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, library.TensorProto):
        return _array(library, value)
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value


def _array(library: ModuleType, tensor: Any) -> Array:
    array: Array = library.numpy_helper.to_array(tensor)
    return array


def _constant_of(node: OnnxNode) -> Array | None:
    """What a Constant node holds; None for another node, and for a sparse or textual one."""
    if node.op_type != "Constant" or node.domain:
        return None
    kinds = {"value_float": "float32", "value_floats": "float32"}
    kinds |= {"value_int": "int64", "value_ints": "int64"}
    for name, value in node.attributes.items():
        if name == "value" and isinstance(value, np.ndarray):
            return value
        if name in kinds:
            return np.array(value, kinds[name])
    return None


def _input(library: ModuleType, info: Any) -> OnnxInput:
    tensor = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not tensor.elem_type:
        return OnnxInput(info.name, info.type.WhichOneof("value") or "nothing", None)
    dtype = str(library.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if not tensor.HasField("shape"):
        return OnnxInput(info.name, dtype, None)
    shape = tuple(
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in tensor.shape.dim
    )
    return OnnxInput(info.name, dtype, shape)
