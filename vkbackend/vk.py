"""The binding: the only file that imports `vulkan`, late, and calls its C functions through cffi.

`vk.VK_...`, `vk.lib` and `vk.ffi` are the binding's own; the first use of any of them loads Vulkan
(DeviceError where it is not installed). Structs are made here and not by the binding's wrappers,
which take 50 us each and free what a nested struct points to before the call is made.
"""

from __future__ import annotations

import functools
import importlib
import weakref
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from vkbackend.errors import DeviceError, OutOfMemoryError

WHOLE_SIZE = 2**64 - 1  # the binding's own VK_WHOLE_SIZE is -1
API_VERSION = (1 << 22) | (3 << 12)  # the newest version that anything here makes use of

_HINTS = {
    "VK_ERROR_DEVICE_LOST": "the GPU stopped working, often because one kernel ran too long: "
    "close the device and open it again",
    "VK_ERROR_INITIALIZATION_FAILED": "check that the driver is installed whole: `vulkaninfo`",
    "VK_ERROR_TOO_MANY_OBJECTS": "close buffers and models that are no longer needed",
}
# What a cdata points to, for as long as the cdata itself is held.
_owned: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()


@functools.cache
def _binding() -> Any:
    """The `vulkan` package, imported once; DeviceError says how to install what is missing."""
    try:
        return importlib.import_module("vulkan")
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"the Python package {error.name!r} is not installed: pip install vulkan"
        ) from None
    except OSError:
        raise DeviceError(
            "no Vulkan loader on this machine (libvulkan.so.1, vulkan-1.dll): install the GPU "
            "vendor's driver, or on Debian and Ubuntu: apt install libvulkan1 mesa-vulkan-drivers"
        ) from None


def __getattr__(name: str) -> Any:
    """`vk.VK_...`, `vk.lib`, `vk.ffi`: read from the binding, which is loaded by the first."""
    if name.startswith("_"):  # an inspecting tool must not load Vulkan
        raise AttributeError(name)
    return getattr(_binding(), name)


def struct(type_name: str, **fields: Any) -> Any:
    """A pointer to a new struct, sType filled, which keeps alive everything that it points to.

    A field takes a number, a handle, a pointer from here, bytes or text, or a sequence of these;
    None leaves it zero.
    """
    ffi = _binding().ffi
    pointer = ffi.new(f"{type_name} *")
    types = {name: field.type for name, field in ffi.typeof(type_name).fields}
    keep: list[Any] = []
    if "sType" in types:
        pointer.sType = _structure_type(type_name)
    for name, value in fields.items():
        if value is not None:
            setattr(pointer, name, _field(types[name], value, keep))
    _owned[pointer] = keep
    return pointer


@functools.cache
def _structure_type(type_name: str) -> int:
    """The sType of a struct: the first default of the binding's function of the same name."""
    return int(getattr(_binding(), type_name).__defaults__[0])


def _field(kind: Any, value: Any, keep: list[Any]) -> Any:
    """`value` as a field of type `kind` takes it; what must outlive the call goes to `keep`."""
    ffi = _binding().ffi
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        value = ffi.new("char[]", value)  # the zero at the end is needed in text, harmless in data
    elif isinstance(value, Sequence):
        value = array(kind.item.cname, value)
    keep.append(value)
    if kind.kind == "struct":
        return value[0]
    return ffi.cast(kind, value) if kind.kind == "pointer" else value


def array(type_name: str, items: Sequence[Any] | int) -> Any:
    """A C array of `items`, which it keeps alive, or of that many zeros (sType filled)."""
    ffi = _binding().ffi
    item_type = ffi.typeof(type_name)
    if isinstance(items, int):
        result = ffi.new(f"{type_name}[]", items)
        if item_type.kind == "struct" and item_type.fields[0][0] == "sType":
            for item in result:
                item.sType = _structure_type(type_name)
        return result
    keep: list[Any] = []
    result = ffi.new(ffi.getctype(type_name, "[]"), [_field(item_type, i, keep) for i in items])
    _owned[result] = keep
    return result


def chain(structs: Iterable[Any]) -> Any:
    """Links structs through pNext and returns the first, which keeps the others alive."""
    items = list(structs)
    for item, following in pairwise(items):
        item.pNext = following
        _owned[item].append(following)
    return items[0]


def check(result: int, what: str) -> None:
    """Raises for a failed VkResult: OutOfMemoryError or DeviceError; `what` was being done."""
    if result < 0:
        name = _result_names().get(result, f"VkResult {result}")
        if "OUT_OF" in name and "MEMORY" in name:
            place = "host" if "HOST" in name else "device"
            raise OutOfMemoryError(
                f"{what}: the {place} is out of memory ({name}); close what is no longer needed, "
                "or use a smaller network or batch"
            )
        hint = _HINTS.get(name, "VKBACKEND_VALIDATION=1 may tell why")
        raise DeviceError(f"{what}: the driver answered {name}; {hint}")


@functools.cache
def _result_names() -> Mapping[int, str]:
    elements: Mapping[int, str] = _binding().ffi.typeof("VkResult").elements
    return elements


def create(type_name: str, function: Any, *arguments: Any, what: str) -> Any:
    """The handle that a vkCreate... or vkAllocate... function gives through its last argument."""
    out = _binding().ffi.new(f"{type_name} *")
    check(function(*arguments, out), what)
    return out[0]


def listing(type_name: str, function: Any, *arguments: Any, what: str) -> Any:
    """The array that a function gives when asked twice: first for its length, then for all."""
    ffi = _binding().ffi
    count = ffi.new("uint32_t *")
    while True:
        check(function(*arguments, count, ffi.NULL) or 0, what)
        items = array(type_name, int(count[0]))
        result = function(*arguments, count, items) or 0
        check(result, what)
        if result == 0 and count[0] == len(items):
            return items


def instance_function(instance: Any, name: str) -> Any:
    """An extension's function, or None where the driver has none of that name."""
    ffi, lib = _binding().ffi, _binding().lib
    address = lib.vkGetInstanceProcAddr(instance, ffi.new("char[]", name.encode()))
    return ffi.cast(f"PFN_{name}", address) if address else None


def text(chars: Any) -> str:
    """A C string as Python text."""
    return bytes(_binding().ffi.string(chars)).decode("utf-8", "replace")


def version(packed: int) -> tuple[int, int, int]:
    """A packed Vulkan version as (major, minor, patch)."""
    return packed >> 22 & 0x7F, packed >> 12 & 0x3FF, packed & 0xFFF
