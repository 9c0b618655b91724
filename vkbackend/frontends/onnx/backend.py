"""The onnx package's own interface to runtimes: `prepare(model).run(inputs)`.

What onnx.backend.test runs. Scales, zero points, weights and shapes have to be constants here,
where that suite feeds them as inputs: `run` takes them as constants of a network made for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import vkbackend as vkb
from vkbackend.frontends.onnx.handlers import HANDLERS
from vkbackend.graph import Array

if TYPE_CHECKING:
    import onnx

# Positions of activations among the inputs of an operator; all others are constants.
_ACTIVATIONS: dict[str, tuple[int, ...]] = {"QLinearAdd": (0, 3), "QLinearMul": (0, 3)}
_PAIRS = ("Add", "Sub", "Mul", "Div", "Min", "Max", "Concat")


class Methods:
    """What VkBackend, below, does: ONNX models on a Vulkan device.

    Its name among ONNX's devices is CPU, where the arrays are. The keyword `vulkan_device` of
    `prepare` is an open Device, an index or a part of a name.
    """

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> bool:
        """Whether every operator has a handler; what else may be missing `prepare` says."""
        return all(node.op_type in HANDLERS for node in model.graph.node)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> VkBackendRep:
        """The model, ready to run. Networks are made when the first inputs are there."""
        return VkBackendRep(model, options.get("vulkan_device"))

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """CPU only."""
        return device.partition(":")[0] == "CPU"


class VkBackendRep:
    """A model; networks by the constants among its inputs, the latest one kept."""

    def __init__(self, model: onnx.ModelProto, device: vkb.Device | int | str | None) -> None:
        self._proto = model
        self._device = device
        self._activations = _activations(model)
        self._key: tuple[bytes, ...] = ()
        self._model: vkb.Model | None = None

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """Arrays in order of the model's inputs, or by name; its outputs in order.

        Raises InputError on a wrong number, and whatever converting and running raise.
        """
        names = [info.name for info in self._proto.graph.input]
        known = {tensor.name for tensor in self._proto.graph.initializer}
        wanted = [name for name in names if name not in known]
        feeds = (
            dict(inputs) if isinstance(inputs, dict) else dict(zip(wanted, inputs, strict=False))
        )
        if set(feeds) != set(wanted):
            raise vkb.InputError(f"takes inputs {wanted}, got {len(inputs)}")
        arrays = {name: np.asarray(array) for name, array in feeds.items()}
        model = self._prepared(arrays)
        result = model(**{name: arrays[name] for name in model.signature.inputs})
        outputs = [info.name for info in self._proto.graph.output]
        found = result if isinstance(result, dict) else {outputs[0]: result}
        return tuple(found[name] for name in outputs)

    def _prepared(self, arrays: dict[str, Array]) -> vkb.Model:
        constants = {name: array for name, array in arrays.items() if name not in self._activations}
        key = tuple(array.tobytes() + str(array.shape).encode() for array in constants.values())
        if self._model is None or key != self._key:
            self.close()
            self._model = vkb.load(
                vkb.from_onnx(_frozen(self._proto, constants)), device=self._device
            )
            self._key = key
        return self._model

    def close(self) -> None:
        """Frees the network."""
        if self._model is not None:
            self._model.close()
            self._model = None


def _activations(model: onnx.ModelProto) -> set[str]:
    """The inputs that no operator wants to be constant."""
    names = {info.name for info in model.graph.input}
    for node in model.graph.node:
        count = len(node.input)
        kept: Sequence[int] = _ACTIVATIONS.get(
            node.op_type, range(count) if node.op_type in _PAIRS else (0,)
        )
        names -= {name for index, name in enumerate(node.input) if index not in kept}
    return names


def _frozen(model: onnx.ModelProto, constants: dict[str, Array]) -> onnx.ModelProto:
    """A copy of the model with some of its inputs as initializers."""
    import onnx
    from onnx import numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    inputs = [info for info in copy.graph.input if info.name not in constants]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    tensors = (numpy_helper.from_array(array, name) for name, array in constants.items())
    copy.graph.initializer.extend(tensors)
    return copy


def __getattr__(name: str) -> Any:
    # The class is made when it is first asked for: only then is the onnx package needed.
    if name != "VkBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from onnx.backend.base import Backend

    made = type(name, (Methods, Backend), {"__doc__": Methods.__doc__, "__module__": __name__})
    return globals().setdefault(name, made)
