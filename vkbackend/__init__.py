"""Runs int8-quantised convolutional networks on any Vulkan GPU: the public API, and nothing else.

from_onnx, from_tflite and from_executorch make a Graph of a quantised network; save writes it to a
file; load resolves a file or a Graph for a device and returns a Model, which is called with NumPy
arrays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vkbackend.errors import (
    DeviceError,
    FormatError,
    GraphError,
    InputError,
    KernelError,
    OutOfMemoryError,
    ResolveError,
    ShaderError,
    UnsupportedError,
    ValidationError,
    VkBackendError,
)
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Graph
from vkbackend.plan import Plan

# Not late: importing the module of this name later would put it in the function's place.
from vkbackend.resolve import resolve

if TYPE_CHECKING:
    from vkbackend import functional, reference
    from vkbackend.device import Device
    from vkbackend.device import list_devices as devices
    from vkbackend.fileformat import save
    from vkbackend.frontends.executorch import from_executorch
    from vkbackend.frontends.onnx import from_onnx
    from vkbackend.frontends.tflite import from_tflite
    from vkbackend.runtime import Model, load

__version__ = "0.1.0"

__all__ = [
    "Device",
    "DeviceError",
    "FormatError",
    "GpuInfo",
    "Graph",
    "GraphError",
    "InputError",
    "KernelError",
    "Model",
    "OutOfMemoryError",
    "Plan",
    "ResolveError",
    "ShaderError",
    "UnsupportedError",
    "ValidationError",
    "VkBackendError",
    "__version__",
    "devices",
    "from_executorch",
    "from_onnx",
    "from_tflite",
    "functional",
    "load",
    "reference",
    "resolve",
    "save",
]

# Imported when first used: not every program needs a device, or a reader of foreign files.
_LATE = {
    "Device": ("vkbackend.device", "Device"),
    "Model": ("vkbackend.runtime", "Model"),
    "devices": ("vkbackend.device", "list_devices"),
    "from_executorch": ("vkbackend.frontends.executorch", "from_executorch"),
    "from_onnx": ("vkbackend.frontends.onnx", "from_onnx"),
    "from_tflite": ("vkbackend.frontends.tflite", "from_tflite"),
    "functional": ("vkbackend.functional", None),
    "load": ("vkbackend.runtime", "load"),
    "reference": ("vkbackend.reference", None),
    "save": ("vkbackend.fileformat", "save"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name, attribute = _LATE[name]
    module = importlib.import_module(module_name)
    return module if attribute is None else getattr(module, attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
