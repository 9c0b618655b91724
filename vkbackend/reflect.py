"""Reads from a compiled SPIR-V module what Python must hand over to it, by name.

Standard library only: the build hook uses this file where NumPy is not installed. The binary form
is section 2.3, "Physical Layout of a SPIR-V Module and Instruction", of the SPIR-V specification
(unified1); the numbers of instructions, decorations and storage classes are its section 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vkbackend.errors import ShaderError
from vkbackend.spirv_names import FREE_CAPABILITIES, NAMED_CAPABILITIES

Scalar = Literal["int", "uint", "float", "bool"]
Access = Literal["read", "write", "read_write"]

_MAGIC = 0x07230203
_OP_NAME, _OP_MEMBER_NAME, _OP_EXECUTION_MODE, _OP_CAPABILITY = 5, 6, 16, 17
_OP_TYPE_BOOL, _OP_TYPE_INT, _OP_TYPE_FLOAT, _OP_TYPE_VECTOR = 20, 21, 22, 23
_OP_TYPE_ARRAY, _OP_TYPE_STRUCT, _OP_TYPE_POINTER = 28, 30, 32
_OP_CONSTANT, _OP_SPEC_TRUE, _OP_SPEC_COMPOSITE = 43, 48, 51  # 48 to 51: every specialisable one
_OP_FUNCTION, _OP_VARIABLE, _OP_DECORATE, _OP_MEMBER_DECORATE = 54, 59, 71, 72
_SPEC_ID, _ARRAY_STRIDE, _BUILT_IN, _NON_WRITABLE, _NON_READABLE = 1, 6, 11, 24, 25
_BINDING, _DESCRIPTOR_SET, _OFFSET = 33, 34, 35
_EXECUTION_MODE_LOCAL_SIZE, _BUILT_IN_WORKGROUP_SIZE = 17, 25
_UNIFORM_CONSTANT, _UNIFORM, _PUSH_CONSTANT, _STORAGE_BUFFER = 0, 2, 9, 12


@dataclass(frozen=True)
class Constant:
    """A specialisation constant: its number, its type, and its value when none is given."""

    constant_id: int
    type: Scalar
    default: int | float | bool


@dataclass(frozen=True)
class Binding:
    """A storage buffer: its number in descriptor set 0, and how the shader uses it."""

    binding: int
    access: Access


@dataclass(frozen=True)
class Member:
    """A push-constant member: `count` 32-bit values of one type, one after another."""

    offset_bytes: int
    type: Scalar
    count: int = 1


@dataclass(frozen=True)
class ModuleInterface:
    """What a compute module takes. Each of `local_size` is a number or the name of a constant."""

    constants: dict[str, Constant] = field(default_factory=dict)
    bindings: dict[str, Binding] = field(default_factory=dict)
    push_constants: dict[str, Member] = field(default_factory=dict)
    push_constants_size_bytes: int = 0
    local_size: tuple[int | str, int | str, int | str] = (1, 1, 1)
    capabilities: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The same facts in plain dicts and lists."""
        plain = asdict(self)
        return plain | {"local_size": [*self.local_size], "capabilities": [*self.capabilities]}

    @staticmethod
    def from_json(plain: dict[str, Any]) -> ModuleInterface:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        x, y, z = plain["local_size"]
        return ModuleInterface(
            {name: Constant(**fields) for name, fields in plain["constants"].items()},
            {name: Binding(**fields) for name, fields in plain["bindings"].items()},
            {name: Member(**fields) for name, fields in plain["push_constants"].items()},
            plain["push_constants_size_bytes"],
            (x, y, z),
            tuple(plain["capabilities"]),
        )


def reflect(spirv: bytes) -> ModuleInterface:
    """The interface of a compute module. Raises ShaderError when the bytes are no SPIR-V module,
    or the module takes something that this package does not hand over (an image, a second set)."""
    module = _Module(_words(spirv))
    constants, names = module.constants()
    bindings: dict[str, Binding] = {}
    members: dict[str, Member] = {}
    size_bytes = 0
    for variable, (pointer, storage) in module.variables.items():
        pointee = module.types[pointer][2]
        if storage == _PUSH_CONSTANT:
            members, size_bytes = module.push_constants(pointee)
        elif storage == _STORAGE_BUFFER:
            name = module.names.get(variable) or module.names.get(pointee) or f"buffer{variable}"
            if name in bindings:
                raise ShaderError(f"two buffers are named {name!r}: give each an instance name")
            bindings[name] = module.binding(name, variable, pointee)
        elif storage in (_UNIFORM, _UNIFORM_CONSTANT):
            name = module.names.get(variable) or module.names.get(pointee, "?")
            raise ShaderError(f"{name!r} is a uniform, image or sampler: use a storage buffer")
    needed = module.capabilities - FREE_CAPABILITIES
    capabilities = sorted(NAMED_CAPABILITIES.get(number, str(number)) for number in needed)
    return ModuleInterface(
        dict(sorted(constants.items(), key=lambda item: item[1].constant_id)),
        dict(sorted(bindings.items(), key=lambda item: item[1].binding)),
        members,
        size_bytes,
        module.local_size(names),
        tuple(capabilities),
    )


def _words(spirv: bytes) -> tuple[int, ...]:
    """The module as 32-bit words; its magic number tells their byte order."""
    for order in "<>":
        if len(spirv) >= 20 and len(spirv) % 4 == 0:
            words = struct.unpack(f"{order}{len(spirv) // 4}I", spirv)
            if words[0] == _MAGIC:
                return words
    begin = spirv[:4].hex() or "nothing"
    raise ShaderError(f"not a SPIR-V module: {len(spirv)} bytes that begin with {begin}")


def _instructions(words: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Operation code and operands of every instruction before the first function."""
    at = 5
    while at < len(words):
        length, code = words[at] >> 16, words[at] & 0xFFFF
        if length == 0 or at + length > len(words):
            raise ShaderError(
                f"damaged SPIR-V module: the instruction at word {at} of {len(words)} has "
                f"a length of {length} words"
            )
        if code == _OP_FUNCTION:
            return
        yield code, words[at + 1 : at + length]
        at += length


def _text(words: tuple[int, ...]) -> str:
    return struct.pack(f"<{len(words)}I", *words).split(b"\0", 1)[0].decode()


class _Module:
    """What the declarations of a module say, by result id."""

    def __init__(self, words: tuple[int, ...]) -> None:
        self.names: dict[int, str] = {}
        self.member_names: dict[tuple[int, int], str] = {}
        self.capabilities: set[int] = set()
        self.types: dict[int, tuple[int, ...]] = {}  # id -> code, operands
        self.values: dict[int, tuple[int, ...]] = {}  # id -> code, type, operands
        self.variables: dict[int, tuple[int, int]] = {}  # id -> pointer type, storage class
        self.decorations: dict[int, dict[int, int]] = {}
        self.member_decorations: dict[tuple[int, int], dict[int, int]] = {}
        self.literal_size = (1, 1, 1)
        for code, operands in _instructions(words):
            self._take(code, operands)

    def _take(self, code: int, operands: tuple[int, ...]) -> None:
        if code == _OP_CAPABILITY:
            self.capabilities.add(operands[0])
        elif code == _OP_NAME:
            self.names[operands[0]] = _text(operands[1:])
        elif code == _OP_MEMBER_NAME:
            self.member_names[operands[0], operands[1]] = _text(operands[2:])
        elif code == _OP_EXECUTION_MODE and operands[1] == _EXECUTION_MODE_LOCAL_SIZE:
            self.literal_size = (operands[2], operands[3], operands[4])
        elif code == _OP_DECORATE:
            self.decorations.setdefault(operands[0], {})[operands[1]] = sum(operands[2:3])
        elif code == _OP_MEMBER_DECORATE:
            member = self.member_decorations.setdefault((operands[0], operands[1]), {})
            member[operands[2]] = sum(operands[3:4])
        elif _OP_TYPE_BOOL <= code <= _OP_TYPE_POINTER:
            self.types[operands[0]] = (code, *operands[1:])
        elif code == _OP_CONSTANT or _OP_SPEC_TRUE <= code <= _OP_SPEC_COMPOSITE:
            self.values[operands[1]] = (code, operands[0], *operands[2:])
        elif code == _OP_VARIABLE:
            self.variables[operands[1]] = (operands[0], operands[2])

    def scalar(self, type_id: int, what: str) -> Scalar:
        """The word for a scalar type of 32 bits, or bool."""
        match self.types[type_id]:
            case (20,):
                return "bool"
            case (21, 32, signed):
                return "int" if signed else "uint"
            case (22, 32, *_):
                return "float"
        raise ShaderError(f"{what} is neither bool nor a 32-bit int, uint or float")

    def constants(self) -> tuple[dict[str, Constant], dict[int, str]]:
        """Specialisation constants by name, and the name that stands for each constant number."""
        constants: dict[str, Constant] = {}
        names: dict[int, str] = {}
        # `local_size_x_id = 0` makes a constant without a name; another of that number may have it.
        for result, (code, type_id, *bits) in self.values.items():
            number = self.decorations.get(result, {}).get(_SPEC_ID)
            name = self.names.get(result)
            if number is None or not name:
                continue
            kind = self.scalar(type_id, f"constant {name!r}")
            names[number] = name
            constants[name] = Constant(number, kind, _default(code, kind, bits))
        for axis, result in zip("xyz", self._workgroup_size(), strict=False):
            number = self.decorations.get(result, {}).get(_SPEC_ID)
            if number is not None and number not in names:
                names[number] = f"local_size_{axis}"
                constants[names[number]] = Constant(number, "uint", self.values[result][2])
        return constants, names

    def _workgroup_size(self) -> tuple[int, ...]:
        """Ids of the three constants that make up gl_WorkGroupSize, where the module has it."""
        for result, decorations in self.decorations.items():
            if decorations.get(_BUILT_IN) == _BUILT_IN_WORKGROUP_SIZE and result in self.values:
                return self.values[result][2:]
        return ()

    def local_size(self, names: dict[int, str]) -> tuple[int | str, int | str, int | str]:
        """Numbers, or names of constants. gl_WorkGroupSize overrides the execution mode."""
        parts = self._workgroup_size()
        if not parts:
            return self.literal_size
        numbers = [self.decorations.get(part, {}).get(_SPEC_ID) for part in parts]
        x, y, z = (
            self.values[part][2] if number is None else names[number]
            for part, number in zip(parts, numbers, strict=True)
        )
        return (x, y, z)

    def binding(self, name: str, variable: int, block: int) -> Binding:
        """Where a storage buffer is bound. It is read-only if the variable or every member is."""
        decorations = self.decorations.get(variable, {})
        if self.types[block][0] != _OP_TYPE_STRUCT:
            raise ShaderError(f"{name!r} is an array of buffers: declare each buffer by itself")
        if decorations.get(_DESCRIPTOR_SET, 0) != 0:
            number = decorations[_DESCRIPTOR_SET]
            raise ShaderError(f"{name!r} is in set {number}: only set 0 is used")
        members = [
            self.member_decorations.get((block, index), {})
            for index in range(len(self.types[block]) - 1)
        ]
        closed = [
            flag in decorations or all(flag in member for member in members)
            for flag in (_NON_WRITABLE, _NON_READABLE)
        ]
        access: Access = "read" if closed[0] else "write" if closed[1] else "read_write"
        return Binding(decorations[_BINDING], access)

    def push_constants(self, block: int) -> tuple[dict[str, Member], int]:
        """Members of the push-constant block by name, and the block's size in bytes."""
        members: dict[str, Member] = {}
        for index, type_id in enumerate(self.types[block][1:]):
            name = self.member_names[block, index]
            offset_bytes = self.member_decorations[block, index][_OFFSET]
            kind, count = self._flat(type_id, f"push constant {name!r}")
            members[name] = Member(offset_bytes, kind, count)
        return members, max(member.offset_bytes + 4 * member.count for member in members.values())

    def _flat(self, type_id: int, what: str) -> tuple[Scalar, int]:
        """Scalar type and number of values of a scalar, a vector, or an array without gaps."""
        match self.types[type_id]:
            case (23, component, count):
                return self.scalar(component, what), count
            case (28, element, length):
                kind, inner = self._flat(element, what)
                if self.decorations.get(type_id, {}).get(_ARRAY_STRIDE) != 4 * inner:
                    raise ShaderError(f"{what} has gaps between its elements: use scalars or vec4")
                return kind, inner * self.values[length][2]
            case _:
                return self.scalar(type_id, what), 1


def _default(code: int, kind: Scalar, bits: list[int]) -> int | float | bool:
    if kind == "bool":
        return code == _OP_SPEC_TRUE
    form = {"int": "<i", "uint": "<I", "float": "<f"}[kind]
    value: int | float = struct.unpack(form, struct.pack("<I", bits[0]))[0]
    return value
