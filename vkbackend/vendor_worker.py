"""Compiles kernels with the driver that its environment names: the inner half of vendor.py.

Runs under a vendor root's own Python. Standard output gets the GPU's facts first; then standard
input holds one kernel a line, as JSON, and standard output gets one answer a line.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from vkbackend import vk
from vkbackend.device.context import Context
from vkbackend.device.facts import PhysicalDevice, read_physical_device
from vkbackend.device.features import FeatureStruct
from vkbackend.device.instance import Instance
from vkbackend.device.pipeline import Pipeline, all_constants
from vkbackend.errors import DeviceError, VkBackendError
from vkbackend.reflect import ModuleInterface
from vkbackend.shaders import Module

_STATISTICS = FeatureStruct(
    "VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR",
    ("pipelineExecutableInfo",),
    None,
    "VK_KHR_pipeline_executable_properties",
)
_FIELD_OF_FORMAT = ("b32", "i64", "u64", "f64")  # in the order of the format's enum


class CapturedPipeline(Pipeline):
    """A pipeline that keeps what the driver tells of its making."""

    def _pipeline_info(self, shader: object, subgroup_size: int | None) -> object:
        info: Any = super()._pipeline_info(shader, subgroup_size)
        if tells(self.context.physical):
            info.flags = (
                vk.VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR
                | vk.VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR
            )
        return info

    def describe(self) -> dict[str, Any]:
        """The driver's statistics by name, and its disassembly; empty where it tells nothing."""
        if not tells(self.context.physical):
            return {"statistics": {}, "assembly": ""}
        info = vk.struct(
            "VkPipelineExecutableInfoKHR", pipeline=self.handle, executableIndex=0
        )  # a compute pipeline is one executable
        return {"statistics": self._statistics(info), "assembly": self._assembly(info)}

    def _statistics(self, info: Any) -> dict[str, Any]:
        items = vk.listing(
            "VkPipelineExecutableStatisticKHR",
            self._function("vkGetPipelineExecutableStatisticsKHR"),
            self.context.handle,
            info,
            what="reading a pipeline's statistics",
        )
        return {
            vk.text(item.name): getattr(item.value, _FIELD_OF_FORMAT[item.format]) for item in items
        }

    def _assembly(self, info: Any) -> str:
        """The last of the representations that are text: the machine's own code."""
        function = self._function("vkGetPipelineExecutableInternalRepresentationsKHR")
        device, what = self.context.handle, "reading a pipeline's code"
        kind = "VkPipelineExecutableInternalRepresentationKHR"
        items = vk.listing(kind, function, device, info, what=what)
        # The first round gave the sizes, this one gives the texts.
        texts = [vk.ffi.new("char[]", int(item.dataSize) + 1) for item in items]
        for item, text in zip(items, texts, strict=True):
            item.pData = text
        vk.check(function(device, info, vk.ffi.new("uint32_t *", len(items)), items), what)
        readable = [t for item, t in zip(items, texts, strict=True) if item.isText]
        return vk.text(readable[-1]) if readable else ""

    def _function(self, name: str) -> Any:
        return vk.instance_function(self.context.instance.handle, name)


def tells(physical: PhysicalDevice) -> bool:
    """Whether the driver gives statistics and code of its pipelines."""
    return _STATISTICS.extension in physical.extensions


def open_context() -> Context:
    """The only device of the only driver, opened so that it tells of its pipelines if it can."""
    instance = Instance(validation=False)
    handles = instance.physical_devices()
    if not handles:
        raise DeviceError("the driver finds no GPU: its shim does not know one of that number")
    physical = read_physical_device(instance.handle, handles[0])
    if tells(physical):
        features = dataclasses.replace(
            physical.features,
            names=physical.features.names.union(_STATISTICS.members),
            structs=(*physical.features.structs, _STATISTICS),
        )
        physical = dataclasses.replace(physical, features=features)
    return Context(instance, physical)


def compile_kernel(context: Context, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one line of input."""
    spirv = base64.b64decode(request["spirv"])
    interface = ModuleInterface.from_json(request["interface"])
    module = Module(request["shader"], spirv, interface, hashlib.sha256(spirv).hexdigest())
    try:
        constants = all_constants(module, request["constants"])
        pipeline = CapturedPipeline(context, module, constants, None, vk.ffi.NULL)
    except VkBackendError as error:
        return {"error": str(error)}
    answer = pipeline.describe()
    pipeline.close()
    return answer


def main() -> None:
    """Answers until standard input ends."""
    # Drivers print what they like to standard output: the answers go where they cannot.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        context = open_context()
    except VkBackendError as error:
        print(json.dumps({"error": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"gpu": context.info.to_json()}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(compile_kernel(context, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
