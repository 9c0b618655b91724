"""Choosing a device, a type of memory, and what is said where there is none: no GPU needed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import replace

import pytest

from vkbackend import vk
from vkbackend.device.choice import Candidate, choose
from vkbackend.device.memory import atom_range
from vkbackend.device.memory_types import BufferAccess, MemoryTypes
from vkbackend.errors import DeviceError, OutOfMemoryError
from vkbackend.gpu import captured

LAVAPIPE = Candidate(captured("lavapipe_22"))
SWIFTSHADER = Candidate(captured("swiftshader"))
MALI = Candidate(captured("mali_g610"))
OLD_MALI = Candidate(captured("mali_g52"))
NVIDIA = Candidate(captured("nvidia_h200"))
VIRTUAL = Candidate(replace(captured("nvidia_h200"), device_type="virtual", name="Virtio"))
OTHER_SOFTWARE = Candidate(replace(captured("swiftshader"), vendor_id=1, name="Some CPU"))


@pytest.mark.parametrize(
    ("candidates", "expected"),
    [
        ([LAVAPIPE, SWIFTSHADER, VIRTUAL, MALI, NVIDIA], NVIDIA),
        ([LAVAPIPE, SWIFTSHADER, VIRTUAL, MALI], MALI),
        ([LAVAPIPE, SWIFTSHADER, VIRTUAL], VIRTUAL),
        ([OTHER_SOFTWARE, SWIFTSHADER, LAVAPIPE], LAVAPIPE),
        ([OTHER_SOFTWARE, SWIFTSHADER], SWIFTSHADER),
        ([OLD_MALI, SWIFTSHADER], SWIFTSHADER),
        ([replace(NVIDIA, has_compute_queue=False), SWIFTSHADER], SWIFTSHADER),
    ],
)
def test_the_best_is_chosen(candidates: list[Candidate], expected: Candidate) -> None:
    assert candidates[choose(candidates, None)] is expected


def test_among_equals_the_first() -> None:
    assert choose([LAVAPIPE, NVIDIA, NVIDIA], None) == 1


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (0, 0),
        (2, 2),
        ("1", 1),
        ("g610", 1),
        ("H200", 2),
        ("LLVMpipe", 0),
        ("lavapipe", 0),
        ("200", 2),  # no such index: a part of a name
    ],
)
def test_selectors(selector: int | str, expected: int) -> None:
    assert choose([LAVAPIPE, MALI, NVIDIA], selector) == expected


@pytest.mark.parametrize(
    ("selector", "origin", "message"),
    [
        (
            "radeon",
            "VKBACKEND_DEVICE",
            """\
no usable Vulkan device 'radeon' (from VKBACKEND_DEVICE); passed over:
  0: llvmpipe (LLVM 15.0.6, 256 bits) (cpu, Vulkan 1.3.230): its name does not contain 'radeon'
  1: Mali-G52 MC4 (integrated, Vulkan 1.0.354): its name does not contain 'radeon'
  2: NVIDIA H200 (discrete, Vulkan 1.4.312): its name does not contain 'radeon'
give an index or a part of a name from this list, or nothing for the best""",
        ),
        (
            7,
            "",
            """\
no usable Vulkan device 7; passed over:
  0: llvmpipe (LLVM 15.0.6, 256 bits) (cpu, Vulkan 1.3.230): its index is not 7
  1: Mali-G52 MC4 (integrated, Vulkan 1.0.354): its index is not 7
  2: NVIDIA H200 (discrete, Vulkan 1.4.312): its index is not 7
give an index or a part of a name from this list, or nothing for the best""",
        ),
        (
            "mali",
            "",
            """\
no usable Vulkan device 'mali'; passed over:
  0: llvmpipe (LLVM 15.0.6, 256 bits) (cpu, Vulkan 1.3.230): its name does not contain 'mali'
  1: Mali-G52 MC4 (integrated, Vulkan 1.0.354): it is older than Vulkan 1.1
  2: NVIDIA H200 (discrete, Vulkan 1.4.312): its name does not contain 'mali'
give an index or a part of a name from this list, or nothing for the best""",
        ),
    ],
)
def test_nothing_matches(selector: int | str, origin: str, message: str) -> None:
    with pytest.raises(DeviceError) as caught:
        choose([LAVAPIPE, OLD_MALI, NVIDIA], selector, origin)
    assert str(caught.value) == message


def test_nothing_fits() -> None:
    with pytest.raises(DeviceError) as caught:
        choose([OLD_MALI, replace(MALI, has_compute_queue=False)], None)
    assert str(caught.value) == (
        """\
no usable Vulkan device; passed over:
  0: Mali-G52 MC4 (integrated, Vulkan 1.0.354): it is older than Vulkan 1.1
  1: Mali-G610 MC4 (integrated, Vulkan 1.4.354): it has no compute queue
a device needs Vulkan 1.1 and a compute queue: update its driver"""
    )


def test_no_device() -> None:
    with pytest.raises(DeviceError) as caught:
        choose([], "mali")
    assert str(caught.value) == (
        "no Vulkan device: no driver was found, or none that has a GPU; install the GPU vendor's, "
        "or Mesa's lavapipe, which runs on any CPU (on Debian and Ubuntu: apt install "
        "mesa-vulkan-drivers)"
    )


# (flags, heap) as real drivers list them: 1 device local, 2 host visible, 4 coherent, 8 cached.
MEMORY = {
    "lavapipe": ((15, 0),),
    "adreno": ((7, 0), (15, 0), (11, 0), (17, 0)),
    "mali": ((1, 0), (7, 0)),
    "nvidia": ((0, 1), (1, 0), (6, 1), (14, 1), (7, 0)),
    "amd": ((1, 0), (7, 1), (6, 2), (14, 2), (0xC7, 1)),  # the last: uncached, a vendor's flag
}


@pytest.mark.parametrize(
    ("name", "is_unified", "device", "upload", "download"),
    [
        ("lavapipe", True, 0, 0, 0),
        ("adreno", True, 0, 0, 1),
        ("mali", False, 1, 1, 1),
        ("nvidia", False, 1, 2, 3),
        ("amd", False, 0, 2, 3),
    ],
)
def test_memory_types(name: str, is_unified: bool, device: int, upload: int, download: int) -> None:
    types = MemoryTypes(MEMORY[name])
    assert types.is_unified is is_unified
    is_shared = name in ("lavapipe", "adreno", "mali")
    wanted: dict[BufferAccess, int] = {"device": device, "upload": upload, "download": download}
    assert {access: types.choose(0xFF, access, is_shared) for access in wanted} == wanted


def test_a_type_that_the_buffer_does_not_allow_is_passed_over() -> None:
    types = MemoryTypes(MEMORY["nvidia"])
    assert types.choose(0b10001, "device", False) == 4
    assert types.choose(0b00001, "upload", False) == -1


def test_ranges_in_whole_atoms() -> None:
    assert atom_range(0, 10, 64, 1024) == (0, 64)
    assert atom_range(70, 60, 64, 1024) == (64, 128)
    assert atom_range(960, 30, 64, 1000) == (960, 40)  # to the end of the memory


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError("Cannot find Vulkan SDK version"),
            "no Vulkan loader on this machine (libvulkan.so.1, vulkan-1.dll): install the GPU "
            "vendor's driver, or on Debian and Ubuntu: apt install libvulkan1 "
            "mesa-vulkan-drivers",
        ),
        (
            ModuleNotFoundError("No module named 'vulkan'", name="vulkan"),
            "the Python package 'vulkan' is not installed: pip install vulkan",
        ),
    ],
)
def test_without_a_loader(error: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(vk, "_binding", vk._binding.__wrapped__)
    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(DeviceError) as caught:
        _ = vk.VK_SUCCESS
    assert str(caught.value) == message


def test_vulkan_is_loaded_late() -> None:
    code = "import sys, vkbackend.device.selftest; sys.exit('vulkan' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_inspecting_tool_does_not_load_vulkan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vk, "_binding", lambda: pytest.fail("loaded"))
    assert not hasattr(vk, "__wrapped__")


@pytest.mark.parametrize(
    ("result", "kind", "message"),
    [
        (
            -2,
            OutOfMemoryError,
            "allocating 16 bytes: the device is out of memory (VK_ERROR_OUT_OF_DEVICE_MEMORY); "
            "close what is no longer needed, or use a smaller network or batch",
        ),
        (
            -4,
            DeviceError,
            "allocating 16 bytes: the driver answered VK_ERROR_DEVICE_LOST; the GPU stopped "
            "working, often because one kernel ran too long: close the device and open it again",
        ),
        (
            -13,
            DeviceError,
            "allocating 16 bytes: the driver answered VK_ERROR_UNKNOWN; VKBACKEND_VALIDATION=1 "
            "may tell why",
        ),
    ],
)
def test_failed_calls(
    result: int, kind: type[DeviceError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        -2: "VK_ERROR_OUT_OF_DEVICE_MEMORY",
        -4: "VK_ERROR_DEVICE_LOST",
        -13: "VK_ERROR_UNKNOWN",
    }
    monkeypatch.setattr(vk, "_result_names", lambda: names)
    with pytest.raises(kind) as caught:
        vk.check(result, "allocating 16 bytes")
    assert type(caught.value) is kind
    assert str(caught.value) == message
