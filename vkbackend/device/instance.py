"""The Vulkan instance: the loader's devices, and the validation layer's complaints."""

from __future__ import annotations

import weakref
from typing import Any

from vkbackend import vk
from vkbackend.errors import DeviceError, ValidationError

_LAYER = "VK_LAYER_KHRONOS_validation"
_DEBUG_UTILS = "VK_EXT_debug_utils"
_VALIDATION_FEATURES = "VK_EXT_validation_features"
_LAYER_SETTINGS = "VK_EXT_layer_settings"
_PORTABILITY = "VK_KHR_portability_enumeration"  # without it the loader hides MoltenVK


class Instance:
    """A VkInstance, destroyed by `close` or when collected."""

    def __init__(self, validation: bool) -> None:
        """Raises DeviceError without a loader, or when the validation layer is not installed."""
        self.messages: list[str] = []
        extensions = _extension_names(vk.ffi.NULL)
        wanted = [_PORTABILITY] if _PORTABILITY in extensions else []
        if validation:
            wanted += _validation_extensions(extensions)
        messenger_info = _messenger_info(self.messages) if validation else None
        info = vk.struct(
            "VkInstanceCreateInfo",
            pNext=_validation_chain(wanted, messenger_info) if validation else None,
            flags=1 if _PORTABILITY in wanted else 0,
            pApplicationInfo=vk.struct(
                "VkApplicationInfo", pApplicationName="vkbackend", apiVersion=vk.API_VERSION
            ),
            enabledLayerCount=1 if validation else 0,
            ppEnabledLayerNames=[_LAYER] if validation else None,
            enabledExtensionCount=len(wanted),
            ppEnabledExtensionNames=wanted or None,
        )
        self.handle = _create(info)
        messenger = _listen(self.handle, messenger_info) if messenger_info and self.handle else None
        # `info` holds the messenger's callback, which may be called until the instance is gone.
        self._finalizer = weakref.finalize(self, _destroy, self.handle, messenger, info)

    def close(self) -> None:
        """Destroys the instance; a second call does nothing."""
        self._finalizer()

    def raise_messages(self) -> None:
        """Raises ValidationError with what the validation layer has said since the last call."""
        if self.messages:
            messages = list(dict.fromkeys(self.messages))
            self.messages.clear()
            raise ValidationError("the Vulkan validation layer complains:\n" + "\n".join(messages))

    def physical_devices(self) -> list[Any]:
        """Handles of all devices in the loader's order."""
        if self.handle is None:
            return []
        function, count = vk.lib.vkEnumeratePhysicalDevices, vk.ffi.new("uint32_t *")
        # A loader says so when it has drivers, but none of them found its GPU.
        if function(self.handle, count, vk.ffi.NULL) == vk.VK_ERROR_INITIALIZATION_FAILED:
            return []
        what = "listing the devices"
        return list(vk.listing("VkPhysicalDevice", function, self.handle, what=what))


def _create(info: Any) -> Any:
    """The VkInstance, or None where the loader has no driver at all."""
    out = vk.ffi.new("VkInstance *")
    result = vk.lib.vkCreateInstance(info, vk.ffi.NULL, out)
    if result == vk.VK_ERROR_INCOMPATIBLE_DRIVER:
        return None
    vk.check(result, "creating the Vulkan instance")
    return out[0]


def _destroy(handle: Any, messenger: Any, _info: Any) -> None:
    if messenger is not None:
        destroy = vk.instance_function(handle, "vkDestroyDebugUtilsMessengerEXT")
        destroy(handle, messenger, vk.ffi.NULL)
    if handle is not None:
        vk.lib.vkDestroyInstance(handle, vk.ffi.NULL)


def _extension_names(layer: Any) -> set[str]:
    properties = vk.listing(
        "VkExtensionProperties",
        vk.lib.vkEnumerateInstanceExtensionProperties,
        layer,
        what="listing the loader's extensions",
    )
    return {vk.text(item.extensionName) for item in properties}


def _validation_extensions(extensions: set[str]) -> list[str]:
    """The extensions that validation needs; DeviceError when the layer is not installed."""
    layers = vk.listing(
        "VkLayerProperties",
        vk.lib.vkEnumerateInstanceLayerProperties,
        what="listing the loader's layers",
    )
    if not any(vk.text(item.layerName) == _LAYER for item in layers):
        raise DeviceError(
            f"validation was asked for, but the layer {_LAYER} is not installed: install it (on "
            "Debian and Ubuntu: apt install vulkan-validationlayers), or do without validation "
            "(unset VKBACKEND_VALIDATION)"
        )
    own = _extension_names(vk.ffi.new("char[]", _LAYER.encode()))
    wanted = (_DEBUG_UTILS, _VALIDATION_FEATURES, _LAYER_SETTINGS)
    return [name for name in wanted if name in own | extensions]


def _validation_chain(extensions: list[str], messenger_info: Any) -> Any:
    """What the layer shall look for: hazards between the steps of a command buffer as well."""
    enables = [vk.VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT]
    features = vk.struct(
        "VkValidationFeaturesEXT",
        enabledValidationFeatureCount=len(enables),
        pEnabledValidationFeatures=enables,
    )
    if _LAYER_SETTINGS not in extensions:
        return vk.chain([features, messenger_info])
    # Newer layers leave out what shaders do to buffers, unless told not to.
    setting = vk.struct(
        "VkLayerSettingEXT",
        pLayerName=_LAYER,
        pSettingName="syncval_shader_accesses_heuristic",
        type=vk.VK_LAYER_SETTING_TYPE_BOOL32_EXT,
        valueCount=1,
        pValues=vk.array("VkBool32", [1]),
    )
    settings = vk.struct("VkLayerSettingsCreateInfoEXT", settingCount=1, pSettings=setting)
    return vk.chain([features, settings, messenger_info])


def _messenger_info(messages: list[str]) -> Any:
    def note(_severity: int, _kind: int, data: Any, _user: Any) -> int:
        # Raising here would be lost in the C caller. Newer layers keep the name out of the message.
        name = vk.text(data.pMessageIdName) if data.pMessageIdName else ""
        message = vk.text(data.pMessage)
        messages.append(message if name in message else f"{name}: {message}")
        return 0

    severities = (
        vk.VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT
        | vk.VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT
    )
    return vk.struct(
        "VkDebugUtilsMessengerCreateInfoEXT",
        messageSeverity=severities,
        # Not "general": the loader tells of every driver on the machine that it could not load.
        messageType=vk.VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        pfnUserCallback=vk.ffi.callback("PFN_vkDebugUtilsMessengerCallbackEXT", note),
    )


def _listen(instance: Any, info: Any) -> Any:
    """The messenger that hands on what the layer says, or None where the layer has none."""
    create = vk.instance_function(instance, "vkCreateDebugUtilsMessengerEXT")
    if create is None:
        return None
    return vk.create(
        "VkDebugUtilsMessengerEXT",
        create,
        instance,
        info,
        vk.ffi.NULL,
        what="listening to the validation layer",
    )
