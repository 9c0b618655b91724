"""Asks a driver for the facts of a device: GpuInfo, and what only this package's insides need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vkbackend import vk
from vkbackend.device.features import Features, read_features
from vkbackend.device.memory_types import MemoryTypes
from vkbackend.device.queues import QueuePlaces, list_families
from vkbackend.device.queues import choose as choose_queues
from vkbackend.gpu import CooperativeMatrix, GpuInfo

_DEVICE_TYPES = ("other", "integrated", "discrete", "virtual", "cpu")
_COMPONENT_TYPES = (
    *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)
_SCOPES = {1: "device", 2: "workgroup", 3: "subgroup", 5: "queue_family"}

# Structs of properties, each with the version and the extension that brings it.
_PROPERTY_STRUCTS = {
    "VkPhysicalDeviceSubgroupProperties": ((1, 1), ""),
    "VkPhysicalDeviceMaintenance3Properties": ((1, 1), ""),
    "VkPhysicalDeviceDriverProperties": ((1, 2), "VK_KHR_driver_properties"),
    "VkPhysicalDeviceFloatControlsProperties": ((1, 2), "VK_KHR_shader_float_controls"),
    "VkPhysicalDeviceSubgroupSizeControlProperties": ((1, 3), "VK_EXT_subgroup_size_control"),
    "VkPhysicalDeviceShaderIntegerDotProductProperties": (
        (1, 3),
        "VK_KHR_shader_integer_dot_product",
    ),
}


@dataclass(frozen=True)
class PhysicalDevice:
    """A device of an instance: its handle and its facts."""

    handle: Any
    info: GpuInfo
    queues: QueuePlaces | None  # None: no queue computes
    extensions: frozenset[str]
    features: Features
    memory_types: MemoryTypes
    non_coherent_atom_bytes: int
    max_storage_buffers: int
    can_require_subgroup_size: bool
    identity: str  # of device, driver and its pipeline caches, fit for a file name


def read_physical_device(instance: Any, handle: Any) -> PhysicalDevice:
    """All facts of one device; what an old driver cannot tell is zero, false or empty."""
    answers = _Properties(handle)
    base, limits = answers.base, answers.base.limits
    features = read_features(
        handle,
        answers.api_version,
        answers.extensions,
        answers.number("VkPhysicalDeviceSubgroupProperties", "supportedOperations"),
    )
    families = list_families(handle)
    places = choose_queues(families)
    memory_types = MemoryTypes.of(handle)
    allocation_bytes = answers.number(
        "VkPhysicalDeviceMaintenance3Properties", "maxMemoryAllocationSize"
    )
    info = GpuInfo(
        **answers.identity(),
        **answers.subgroup_sizes(),
        **_limits(limits),
        max_memory_allocation_bytes=allocation_bytes or memory_types.device_bytes,
        timestamp_valid_bits=families[places.compute.family].timestamp_valid_bits if places else 0,
        dot_accelerated=answers.dot_accelerated(),
        round_to_nearest_even_float32=answers.rounds_to_nearest_even(),
        **_feature_facts(handle, features),
        unified_memory=memory_types.is_unified,
        device_memory_bytes=memory_types.device_bytes,
        cooperative_matrices=_cooperative_matrices(instance, handle, features),
    )
    return PhysicalDevice(
        handle=handle,
        info=info,
        queues=places,
        extensions=answers.extensions,
        features=features,
        memory_types=memory_types,
        non_coherent_atom_bytes=limits.nonCoherentAtomSize,
        max_storage_buffers=limits.maxPerStageDescriptorStorageBuffers,
        can_require_subgroup_size=answers.can_require_subgroup_size(features),
        identity=f"{base.vendorID:08x}-{base.deviceID:08x}-{base.driverVersion:08x}-"
        + bytes(base.pipelineCacheUUID).hex(),
    )


def _limits(limits: Any) -> dict[str, Any]:
    """The limits in GpuInfo's words."""
    return {
        "max_workgroup_invocations": limits.maxComputeWorkGroupInvocations,
        "max_workgroup_size": _triple(limits.maxComputeWorkGroupSize),
        "max_workgroup_count": _triple(limits.maxComputeWorkGroupCount),
        "max_shared_memory_bytes": limits.maxComputeSharedMemorySize,
        "max_storage_buffer_range_bytes": limits.maxStorageBufferRange,
        "max_push_constants_bytes": limits.maxPushConstantsSize,
        "min_storage_buffer_offset_alignment_bytes": limits.minStorageBufferOffsetAlignment,
        "timestamp_period_ns": limits.timestampPeriod,
    }


def _feature_facts(handle: Any, features: Features) -> dict[str, Any]:
    """The features in GpuInfo's words."""
    core_features = vk.struct("VkPhysicalDeviceFeatures")
    vk.lib.vkGetPhysicalDeviceFeatures(handle, core_features)
    return {
        "dot_product": "shaderIntegerDotProduct" in features.names,
        "shader_int8": "shaderInt8" in features.names,
        "shader_int64": bool(core_features.shaderInt64),
        "shader_float16": "shaderFloat16" in features.names,
        "storage_buffer_8bit": "storageBuffer8BitAccess" in features.names,
    }


class _Properties:
    """The property structs that a device of this version and with these extensions answers."""

    def __init__(self, handle: Any) -> None:
        self.base = vk.struct("VkPhysicalDeviceProperties")
        vk.lib.vkGetPhysicalDeviceProperties(handle, self.base)
        self.api_version = vk.version(self.base.apiVersion)
        listed = vk.listing(
            "VkExtensionProperties",
            vk.lib.vkEnumerateDeviceExtensionProperties,
            handle,
            vk.ffi.NULL,
            what="listing a device's extensions",
        )
        self.extensions = frozenset(vk.text(item.extensionName) for item in listed)
        self._structs: dict[str, Any] = {}
        if self.api_version < (1, 1):  # then vkGetPhysicalDeviceProperties2 must not be called
            return
        for name, (core, extension) in _PROPERTY_STRUCTS.items():
            if self.api_version[:2] >= core or extension in self.extensions:
                self._structs[name] = vk.struct(name)
        head = vk.struct("VkPhysicalDeviceProperties2")
        vk.chain([head, *self._structs.values()])
        vk.lib.vkGetPhysicalDeviceProperties2(handle, head)

    def get(self, name: str) -> Any:
        """A struct, or None where the device does not answer it."""
        return self._structs.get(name)

    def number(self, name: str, member: str) -> int:
        """A member of a struct, or 0 where the device does not answer the struct."""
        return int(getattr(self.get(name), member, 0))

    def identity(self) -> dict[str, Any]:
        """What names the device and its driver, in GpuInfo's words."""
        base, driver = self.base, self.get("VkPhysicalDeviceDriverProperties")
        kind = int(base.deviceType)
        return {
            "name": vk.text(base.deviceName),
            "vendor_id": base.vendorID,
            "device_id": base.deviceID,
            "device_type": _DEVICE_TYPES[kind] if kind < len(_DEVICE_TYPES) else "other",
            "api_version": self.api_version,
            "driver_name": vk.text(driver.driverName) if driver else "",
            "driver_info": vk.text(driver.driverInfo) if driver else "",
            "driver_version": base.driverVersion,
        }

    def subgroup_sizes(self) -> dict[str, Any]:
        """The three subgroup sizes of GpuInfo; 1 where a driver cannot tell."""
        usual = self.number("VkPhysicalDeviceSubgroupProperties", "subgroupSize") or 1
        control = "VkPhysicalDeviceSubgroupSizeControlProperties"
        return {
            "subgroup_size": usual,
            "min_subgroup_size": self.number(control, "minSubgroupSize") or usual,
            "max_subgroup_size": self.number(control, "maxSubgroupSize") or usual,
        }

    def dot_accelerated(self) -> tuple[str, ...]:
        """Which packed 4x8-bit dot products, not saturating, the driver calls accelerated."""
        name = "VkPhysicalDeviceShaderIntegerDotProductProperties"
        members = {"signed": "Signed", "unsigned": "Unsigned", "mixed": "MixedSignedness"}
        return tuple(
            form
            for form, part in members.items()
            if self.number(name, f"integerDotProduct4x8BitPacked{part}Accelerated")
        )

    def rounds_to_nearest_even(self) -> bool | None:
        """shaderRoundingModeRTEFloat32, or None where the driver cannot tell."""
        controls = self.get("VkPhysicalDeviceFloatControlsProperties")
        return None if controls is None else bool(controls.shaderRoundingModeRTEFloat32)

    def can_require_subgroup_size(self, features: Features) -> bool:
        """Whether a compute pipeline may ask for a subgroup size and for full subgroups."""
        stages = self.number(
            "VkPhysicalDeviceSubgroupSizeControlProperties", "requiredSubgroupSizeStages"
        )
        return bool(stages & vk.VK_SHADER_STAGE_COMPUTE_BIT) and features.names >= {
            "subgroupSizeControl",
            "computeFullSubgroups",
        }


def _triple(values: Any) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])


def _cooperative_matrices(
    instance: Any, handle: Any, features: Features
) -> tuple[CooperativeMatrix, ...]:
    function = vk.instance_function(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR")
    if function is None or "cooperativeMatrix" not in features.names:
        return ()
    what = "listing cooperative matrices"
    listed = vk.listing("VkCooperativeMatrixPropertiesKHR", function, handle, what=what)
    return tuple(
        CooperativeMatrix(
            m_size=item.MSize,
            n_size=item.NSize,
            k_size=item.KSize,
            a_type=_component(item.AType),
            b_type=_component(item.BType),
            c_type=_component(item.CType),
            result_type=_component(item.ResultType),
            saturating=bool(item.saturatingAccumulation),
            scope=_SCOPES.get(int(item.scope), str(int(item.scope))),
        )
        for item in listed
    )


def _component(value: int) -> str:
    """A VkComponentTypeKHR as text; the types of newer extensions keep their number."""
    return _COMPONENT_TYPES[value] if value < len(_COMPONENT_TYPES) else f"type{value}"
