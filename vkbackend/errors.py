"""Every error that the package raises on purpose: the thing, the facts, the way out."""

from __future__ import annotations


class VkBackendError(Exception):
    """Base of all errors of this package: catch this one to catch them all."""


class GraphError(VkBackendError):
    """A graph, node or tensor that cannot be right: shapes, types, quantisation, order."""


class FormatError(VkBackendError):
    """A file that is damaged, of another kind, or of another version; names the field."""


class UnsupportedError(VkBackendError):
    """A foreign network holds something that this package does not run; lists all of it."""


class ResolveError(VkBackendError):
    """No legal choice of algorithm and layout exists, or a forced one is not legal."""


class DeviceError(VkBackendError):
    """No fitting Vulkan device, a missing feature or limit, or a call that the driver refused."""


class KernelError(DeviceError):
    """The driver could not make the pipeline of one node's kernel."""

    def __init__(self, message: str, node: str, algorithm: str) -> None:
        super().__init__(message)
        self.node = node
        self.algorithm = algorithm


class OutOfMemoryError(DeviceError):
    """The device or the host has too little memory for what was asked."""


class ValidationError(DeviceError):
    """The Vulkan validation layer complained; the message is the layer's own."""


class ShaderError(VkBackendError):
    """A shader did not compile, is missing, or does not take what it was given."""


class InputError(VkBackendError):
    """What the caller handed over has another shape, type, name or number than declared."""
