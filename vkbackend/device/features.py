"""Optional features that our shader modules may need: asked for, enabled, as capabilities."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from vkbackend import vk


@dataclass(frozen=True)
class FeatureStruct:
    """A struct of features: the members in use, and the version and extension that bring it."""

    name: str
    members: tuple[str, ...]
    core: tuple[int, int] | None
    extension: str | None

    def is_known(self, api_version: tuple[int, ...], extensions: Container[str | None]) -> bool:
        """Whether a device of this version and with these extensions takes the struct."""
        is_core = self.core is not None and api_version[:2] >= self.core
        return is_core or self.extension in extensions


STRUCTS = (
    FeatureStruct(
        "VkPhysicalDeviceShaderIntegerDotProductFeatures",
        ("shaderIntegerDotProduct",),
        (1, 3),
        "VK_KHR_shader_integer_dot_product",
    ),
    FeatureStruct(
        "VkPhysicalDeviceShaderFloat16Int8Features",
        ("shaderFloat16", "shaderInt8"),
        (1, 2),
        "VK_KHR_shader_float16_int8",
    ),
    FeatureStruct(
        "VkPhysicalDevice16BitStorageFeatures", ("storageBuffer16BitAccess",), (1, 1), None
    ),
    FeatureStruct(
        "VkPhysicalDevice8BitStorageFeatures",
        ("storageBuffer8BitAccess",),
        (1, 2),
        "VK_KHR_8bit_storage",
    ),
    FeatureStruct(
        "VkPhysicalDeviceVulkanMemoryModelFeatures",
        ("vulkanMemoryModel", "vulkanMemoryModelDeviceScope"),
        (1, 2),
        "VK_KHR_vulkan_memory_model",
    ),
    FeatureStruct(
        "VkPhysicalDeviceSubgroupSizeControlFeatures",
        ("subgroupSizeControl", "computeFullSubgroups"),
        (1, 3),
        "VK_EXT_subgroup_size_control",
    ),
    FeatureStruct(
        "VkPhysicalDeviceCooperativeMatrixFeaturesKHR",
        ("cooperativeMatrix",),
        None,
        "VK_KHR_cooperative_matrix",
    ),
)

# SPIR-V capability -> the feature that allows it; None: never enabled here.
_FEATURE_OF_CAPABILITY = {
    "DotProduct": "shaderIntegerDotProduct",
    "DotProductInputAll": "shaderIntegerDotProduct",
    "DotProductInput4x8Bit": "shaderIntegerDotProduct",
    "DotProductInput4x8BitPacked": "shaderIntegerDotProduct",
    "CooperativeMatrixKHR": "cooperativeMatrix",
    "Float16": "shaderFloat16",
    "Int8": "shaderInt8",
    "StorageBuffer16BitAccess": "storageBuffer16BitAccess",
    "StorageBuffer8BitAccess": "storageBuffer8BitAccess",
    "VulkanMemoryModel": "vulkanMemoryModel",
    "VulkanMemoryModelDeviceScope": "vulkanMemoryModelDeviceScope",
    "Int16": None,
    "Int64": None,
    "Float64": None,
}
# In the order of VkSubgroupFeatureFlagBits, from bit 0.
_SUBGROUP_CAPABILITIES = (
    "GroupNonUniform",
    "GroupNonUniformVote",
    "GroupNonUniformArithmetic",
    "GroupNonUniformBallot",
    "GroupNonUniformShuffle",
    "GroupNonUniformShuffleRelative",
    "GroupNonUniformClustered",
    "GroupNonUniformQuad",
)


@dataclass(frozen=True)
class Features:
    """What a device offers of the features above, and the subgroup operations it computes with."""

    names: frozenset[str]
    structs: tuple[FeatureStruct, ...]  # those that the device takes
    subgroup_operations: int

    def missing(self, capabilities: Iterable[str]) -> list[str]:
        """Those of a module's SPIR-V capabilities that are known here and not to be had."""
        lacking = {
            capability
            for capability, feature in _FEATURE_OF_CAPABILITY.items()
            if feature not in self.names
        }
        for bit, capability in enumerate(_SUBGROUP_CAPABILITIES):
            if not self.subgroup_operations >> bit & 1:
                lacking.add(capability)
        return sorted(lacking.intersection(capabilities))

    def extensions(self, api_version: tuple[int, ...]) -> list[str]:
        """Device extensions to enable for the structs that are not part of this version."""
        return [
            struct.extension
            for struct in self.structs
            if struct.extension and not struct.is_known(api_version, ())
        ]

    def enabling_chain(self) -> Any:
        """The structs with every offered member set, for VkDeviceCreateInfo; None without any."""
        structs = []
        for struct in self.structs:
            members = {member: 1 for member in struct.members if member in self.names}
            if members:
                structs.append(vk.struct(struct.name, **members))
        return vk.chain(structs) if structs else None


def read_features(
    handle: Any,
    api_version: tuple[int, ...],
    extensions: Container[str | None],
    subgroup_operations: int,
) -> Features:
    """What the device offers. Below Vulkan 1.1 there is no way to ask, and nothing is offered."""
    if api_version < (1, 1):
        return Features(frozenset(), (), 0)
    known = tuple(struct for struct in STRUCTS if struct.is_known(api_version, extensions))
    answers = [vk.struct(struct.name) for struct in known]
    head = vk.struct("VkPhysicalDeviceFeatures2")
    vk.chain([head, *answers])
    vk.lib.vkGetPhysicalDeviceFeatures2(handle, head)
    names = frozenset(
        member
        for struct, answer in zip(known, answers, strict=True)
        for member in struct.members
        if getattr(answer, member)
    )
    return Features(names, known, subgroup_operations)
