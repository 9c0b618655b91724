"""A shader module, specialised and compiled by the driver; its constants and buffers go by name."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

from vkbackend import vk
from vkbackend.device.context import Context, Owner
from vkbackend.errors import DeviceError, ShaderError
from vkbackend.reflect import Scalar
from vkbackend.shaders import Module

Number = int | float | bool

_FORMATS: dict[Scalar, str] = {"int": "i", "uint": "I", "float": "f", "bool": "I"}


class Pipeline:
    """A compute pipeline; made by Device.pipeline, and kept until the device is closed."""

    def __init__(
        self,
        context: Context,
        module: Module,
        constants: Mapping[str, Number],
        subgroup_size: int | None,
        cache: object,
    ) -> None:
        """Raises DeviceError when the device cannot run the module so, or the driver fails."""
        self.context = context
        self.module = module
        self.interface = module.interface
        self.name = module.name
        self.constants = dict(constants)
        self.local_size = local_size(module, constants)
        check_limits(context, module, self.local_size, subgroup_size)
        with Owner(context) as owner:
            self._make(owner, subgroup_size, cache)
        self._owner = owner

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.constants.items())
        return f"{self.name}({values})"

    def pack_push_constants(self, values: Mapping[str, Number | Sequence[Number]]) -> bytes:
        """The push-constant block; ShaderError on a missing or unknown name, or a wrong value."""
        members = self.interface.push_constants
        _check_names(self.name, "push constant", members, values, all_needed=True)
        block = bytearray(self.interface.push_constants_size_bytes)
        for name, member in members.items():
            what = f"{self.name}: push constant {name!r}"
            packed = _pack(member.type, member.count, values[name], what)
            block[member.offset_bytes : member.offset_bytes + len(packed)] = packed
        return bytes(block)

    def close(self) -> None:
        """Destroys it; otherwise that is done when the device is closed."""
        self._owner.close()

    def check_bindings(self, names: Iterable[str]) -> None:
        """ShaderError unless these are the names of all buffers, and no others."""
        _check_names(self.name, "buffer", self.interface.bindings, names, all_needed=True)

    def _make(self, owner: Owner, subgroup_size: int | None, cache: object) -> None:
        lib, ffi = vk.lib, vk.ffi
        what = f"making the pipeline {self!r}"
        self.set_layout = owner.create("VkDescriptorSetLayout", self._set_layout_info(), what)
        self.layout = owner.create("VkPipelineLayout", self._layout_info(), what)
        code = self.module.spirv
        module_info = vk.struct("VkShaderModuleCreateInfo", codeSize=len(code), pCode=code)
        with Owner(self.context) as temporary:
            shader = temporary.create("VkShaderModule", module_info, what)
            info = self._pipeline_info(shader, subgroup_size)
            out = ffi.new("VkPipeline *")
            device = self.context.handle
            result = lib.vkCreateComputePipelines(device, cache, 1, info, ffi.NULL, out)
            vk.check(result, what)
            self.handle = out[0]
            owner.keys.append(self.context.lifetimes.add("VkPipeline", self.handle))
        temporary.close()

    def _set_layout_info(self) -> object:
        bindings = [
            vk.struct(
                "VkDescriptorSetLayoutBinding",
                binding=binding.binding,
                descriptorType=vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                descriptorCount=1,
                stageFlags=vk.VK_SHADER_STAGE_COMPUTE_BIT,
            )
            for binding in self.interface.bindings.values()
        ]
        return vk.struct(
            "VkDescriptorSetLayoutCreateInfo", bindingCount=len(bindings), pBindings=bindings
        )

    def _layout_info(self) -> object:
        size = self.interface.push_constants_size_bytes
        push = vk.struct(
            "VkPushConstantRange", stageFlags=vk.VK_SHADER_STAGE_COMPUTE_BIT, size=size
        )
        return vk.struct(
            "VkPipelineLayoutCreateInfo",
            setLayoutCount=1,
            pSetLayouts=[self.set_layout],
            pushConstantRangeCount=1 if size else 0,
            pPushConstantRanges=push if size else None,
        )

    def _pipeline_info(self, shader: object, subgroup_size: int | None) -> object:
        required, flags = None, 0
        if subgroup_size is not None and self.context.physical.can_require_subgroup_size:
            required = vk.struct(
                "VkPipelineShaderStageRequiredSubgroupSizeCreateInfo",
                requiredSubgroupSize=subgroup_size,
            )
            if self.local_size[0] % subgroup_size == 0:
                flags = vk.VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT
        stage = vk.struct(
            "VkPipelineShaderStageCreateInfo",
            pNext=required,
            flags=flags,
            stage=vk.VK_SHADER_STAGE_COMPUTE_BIT,
            module=shader,
            pName="main",
            pSpecializationInfo=self._specialization(),
        )
        return vk.struct("VkComputePipelineCreateInfo", stage=stage, layout=self.layout)

    def _specialization(self) -> object:
        data = pack_constants(self.module, self.constants)
        entries = [
            vk.struct(
                "VkSpecializationMapEntry",
                constantID=constant.constant_id,
                offset=4 * index,
                size=4,
            )
            for index, constant in enumerate(self.interface.constants.values())
        ]
        return vk.struct(
            "VkSpecializationInfo",
            mapEntryCount=len(entries),
            pMapEntries=entries,
            dataSize=len(data),
            pData=data,
        )


def all_constants(module: Module, given: Mapping[str, Number]) -> dict[str, Number]:
    """Every constant of a module, given or default. ShaderError on an unknown name."""
    known = module.interface.constants
    _check_names(module.name, "constant", known, given, all_needed=False)
    return {name: given.get(name, constant.default) for name, constant in known.items()}


def pack_constants(module: Module, constants: Mapping[str, Number]) -> bytes:
    """The values of all constants, four bytes each; ShaderError on a value of another type."""
    return b"".join(
        _pack(constant.type, 1, constants[name], f"{module.name}: constant {name!r}")
        for name, constant in module.interface.constants.items()
    )


def local_size(module: Module, constants: Mapping[str, Number]) -> tuple[int, int, int]:
    """The workgroup size that a module has with these constants."""
    x, y, z = (
        int(constants[part]) if isinstance(part, str) else part
        for part in module.interface.local_size
    )
    return x, y, z


def check_limits(
    context: Context, module: Module, size: tuple[int, int, int], subgroup_size: int | None
) -> None:
    """Raises DeviceError when the device cannot run a module with this workgroup size."""
    info, interface, physical = context.info, module.interface, context.physical
    problems = [
        f"needs the capability {capability}, which the device does not offer"
        for capability in physical.features.missing(interface.capabilities)
    ]
    count = size[0] * size[1] * size[2]
    too_long = any(a > b for a, b in zip(size, info.max_workgroup_size, strict=True))
    if min(size) < 1 or too_long or count > info.max_workgroup_invocations:
        problems.append(
            f"has a workgroup of {size} = {count} invocations, and the device takes at most "
            f"{info.max_workgroup_invocations}, {info.max_workgroup_size} per axis"
        )
    if interface.push_constants_size_bytes > info.max_push_constants_bytes:
        problems.append(
            f"has {interface.push_constants_size_bytes} bytes of push constants, and the device "
            f"takes at most {info.max_push_constants_bytes}"
        )
    if len(interface.bindings) > physical.max_storage_buffers:
        problems.append(
            f"binds {len(interface.bindings)} buffers, and the device takes at most "
            f"{physical.max_storage_buffers}"
        )
    if subgroup_size is not None:
        least, most = info.min_subgroup_size, info.max_subgroup_size
        can_choose = physical.can_require_subgroup_size or least == most
        if not least <= subgroup_size <= most or not can_choose:
            problems.append(
                f"needs subgroups of {subgroup_size}, and the device has {least} to {most}"
                f"{'' if can_choose else ' and does not let one choose'}"
            )
    if problems:
        raise DeviceError(f"{module.name} cannot run on {info.name}: it {'; it '.join(problems)}")


def _check_names(
    module_name: str, kind: str, known: Iterable[str], given: Iterable[str], *, all_needed: bool
) -> None:
    known, given = list(known), list(given)
    problems = [f"{name!r} is unknown" for name in given if name not in known]
    if all_needed:
        problems += [f"{name!r} is missing" for name in known if name not in given]
    if problems:
        names = ", ".join(known) or "none"
        raise ShaderError(f"{module_name}: {kind} {', '.join(problems)}; it has: {names}")


def _pack(kind: Scalar, count: int, value: Number | Sequence[Number], what: str) -> bytes:
    values = list(value) if isinstance(value, Sequence) else [value]
    if kind == "bool":
        values = [bool(item) for item in values]
    try:
        return struct.pack(f"<{count}{_FORMATS[kind]}", *values)
    except (struct.error, OverflowError):
        shape = kind if count == 1 else f"{count} values of type {kind}"
        raise ShaderError(f"{what} takes {shape}, got {value!r}") from None
