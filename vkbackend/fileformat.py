"""The .vkb file: a safetensors file, weights as tensors, the graph as JSON in the metadata.

Metadata: format "vkbackend", version, and graph: {inputs, outputs, nodes, layouts}. Each node is
{name, op, fields, inputs, outputs, constants}; fields are the operator's dataclass fields.
Everything is verified on reading; a FormatError names the field.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from pathlib import Path
from typing import Any

from vkbackend.errors import FormatError, GraphError, VkBackendError
from vkbackend.graph import Array, Graph, Node, TensorType
from vkbackend.layouts import CONV2D, LAYOUTS
from vkbackend.ops import OPERATORS
from vkbackend.ops.base import Operator

VERSION = 1


def save(graph: Graph, path: str | Path) -> None:
    """Writes a graph to one file. Raises VkBackendError where the file cannot be written."""
    from safetensors.numpy import save_file

    metadata = {
        "format": "vkbackend",
        "version": str(VERSION),
        "graph": json.dumps(_graph_json(graph), separators=(",", ":")),
    }
    try:
        save_file(dict(graph.constants), str(path), metadata=metadata)
    except OSError as error:
        raise VkBackendError(f"{path} cannot be written: {error}") from None


def read(path: str | Path) -> Graph:
    """The graph of a file. Raises FormatError on a file that is damaged or of another kind."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            description = _description(metadata)
            constants = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _graph(description, constants)
    except FileNotFoundError:
        raise FormatError(f"{path} does not exist") from None
    except (SafetensorError, OSError, MemoryError, TypeError) as error:
        raise FormatError(f"{path} is not a readable safetensors file: {error}") from None
    except (FormatError, GraphError) as error:
        raise FormatError(f"{path}: {error}") from None


def _description(metadata: dict[str, str]) -> dict[str, Any]:
    if metadata.get("format") != "vkbackend":
        raise FormatError(f'format is {metadata.get("format")!r}, not "vkbackend": not a .vkb file')
    if metadata.get("version") != str(VERSION):
        raise FormatError(
            f"version is {metadata.get('version')!r}, this vkbackend reads {VERSION}: "
            "export the network again"
        )
    try:
        parsed = json.loads(metadata.get("graph", ""))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"graph is not JSON: {error}") from None
    description: dict[str, Any] = _expect(parsed, dict, "graph")
    return description


def _graph_json(graph: Graph) -> dict[str, Any]:
    return {
        "inputs": {name: _type_json(tensor) for name, tensor in graph.inputs.items()},
        "outputs": list(graph.outputs),
        "nodes": [
            {
                "name": node.name,
                "op": node.op.kind,
                "fields": dataclasses.asdict(node.op),  # type: ignore[call-overload]
                "inputs": list(node.inputs),
                "outputs": list(node.outputs),
                "constants": dict(node.constants),
            }
            for node in graph.nodes
        ],
        "layouts": dict(graph.layouts),
    }


def _type_json(tensor: TensorType) -> dict[str, Any]:
    return dataclasses.asdict(tensor)


def _graph(description: dict[str, Any], constants: dict[str, Array]) -> Graph:
    _only(description, {"inputs", "outputs", "nodes", "layouts"}, "graph")
    inputs = _expect(description["inputs"], dict, "graph.inputs")
    layouts = _expect(description["layouts"], dict, "graph.layouts")
    for name, layout in layouts.items():
        if layout != CONV2D and layout not in LAYOUTS:
            raise FormatError(f"graph.layouts[{name!r}]: unknown layout {layout!r}")
    nodes = _expect(description["nodes"], list, "graph.nodes")
    return Graph(
        {
            name: _decode(TensorType, value, f"graph.inputs[{name!r}]")
            for name, value in inputs.items()
        },
        _decode(tuple[str, ...], description["outputs"], "graph.outputs"),
        tuple(_node(node, f"graph.nodes[{index}]") for index, node in enumerate(nodes)),
        constants,
        layouts,
    )


def _node(value: Any, where: str) -> Node:
    fields = _expect(value, dict, where)
    _only(fields, {"name", "op", "fields", "inputs", "outputs", "constants"}, where)
    kind = _decode(str, fields["op"], f"{where}.op")
    operator = OPERATORS.get(kind)
    if operator is None:
        raise FormatError(f"{where}.op: unknown operator {kind!r}")
    constants = _expect(fields["constants"], dict, f"{where}.constants")
    for role, name in constants.items():
        if role not in operator.constant_roles or not isinstance(name, str):
            raise FormatError(f"{where}.constants: {kind} takes no {role!r}")
    names = (str, *(tuple[str, ...],) * 2)
    name, inputs, outputs = (
        _decode(kind_of, fields[key], f"{where}.{key}")
        for kind_of, key in zip(names, ("name", "inputs", "outputs"), strict=True)
    )
    op: Operator = _decode(operator, fields["fields"], f"{where}.fields")
    return Node(name, op, inputs, outputs, constants)


def _only(found: dict[str, Any], wanted: set[str], where: str) -> None:
    for name in sorted(wanted - found.keys()):
        raise FormatError(f"{where}.{name} is missing")
    for name in sorted(found.keys() - wanted):
        raise FormatError(f"{where}.{name} is unknown")


def _expect(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise FormatError(f"{where} is {_short(value)}, not {kind.__name__}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _decode(kind: Any, value: Any, where: str) -> Any:
    """A JSON value as the annotated type of a field: dataclass, tuple, optional or scalar."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _decode(inner, value, where)
    if origin is tuple:
        items = _expect(value, list, where)
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(items)
        if len(items) != len(arguments):
            raise FormatError(f"{where} has {len(items)} entries, not {len(arguments)}")
        return tuple(
            _decode(argument, item, f"{where}[{index}]")
            for index, (argument, item) in enumerate(zip(arguments, items, strict=True))
        )
    if kind is float:
        return float(value if type(value) is int else _expect(value, float, where))
    return _expect(value, kind, where)


def _decode_dataclass(kind: type, value: Any, where: str) -> Any:
    fields = [field for field in dataclasses.fields(kind) if field.init]
    hints = _hints(kind)
    found = _expect(value, dict, where)
    # A field that came later than the file has its default.
    optional = {field.name for field in fields if field.default is not dataclasses.MISSING}
    _only({**dict.fromkeys(optional), **found}, {field.name for field in fields}, where)
    fields = [field for field in fields if field.name in found]
    values = {
        field.name: _decode(hints[field.name], found[field.name], f"{where}.{field.name}")
        for field in fields
    }
    try:
        return kind(**values)
    except (VkBackendError, ValueError, OverflowError) as error:
        raise FormatError(f"{where}: {error}") from None
