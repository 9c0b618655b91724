"""Devices for the tests: every one that this machine has, each opened once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.small_kernels import CompileGlsl
from vkbackend import shaderc
from vkbackend.device import Device, list_devices
from vkbackend.errors import DeviceError, ShaderError
from vkbackend.gpu import Family, GpuInfo
from vkbackend.shaders import Library, Module

FAMILIES = {"lavapipe": Family.LAVAPIPE, "swiftshader": Family.SWIFTSHADER}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a Vulkan device."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)


def missing(what: str) -> None:
    """Skips the test, or fails it in CI, where nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} (and CI=true allows no skips)")
    pytest.skip(what)


def find_device(kind: str) -> int:
    """The index of lavapipe, of SwiftShader, or of the first GPU that is no software."""
    try:
        infos = list_devices()
    except DeviceError as error:
        missing(str(error))
    for index, info in enumerate(infos):
        if info.api_version >= (1, 1) and _is_kind(info, kind):
            return index
    names = ", ".join(info.name for info in infos) or "no device at all"
    missing(f"{kind} is not here (run `make setup`); the loader has {names}")
    raise AssertionError


def _is_kind(info: GpuInfo, kind: str) -> bool:
    return not info.is_software if kind == "hardware" else info.family is FAMILIES[kind]


def _kinds() -> list[Any]:
    """What to test on: both software devices, and a GPU where there is one."""
    kinds = ["lavapipe", pytest.param("swiftshader", marks=pytest.mark.swiftshader)]
    with contextlib.suppress(DeviceError):
        kinds += ["hardware"] if any(_is_kind(info, "hardware") for info in list_devices()) else []
    return kinds


@pytest.fixture(scope="session", params=_kinds())
def device_index(request: pytest.FixtureRequest) -> int:
    """The loader's index of each device at hand."""
    return find_device(request.param)


@pytest.fixture(scope="session")
def device(device_index: int) -> Iterator[Device]:
    """Each device at hand, open for the whole session: leave it as it was found."""
    with Device.open(device_index) as opened:
        yield opened


@pytest.fixture
def own_device(device_index: int) -> Iterator[Device]:
    """Each device at hand, opened for one test alone."""
    with Device.open(device_index) as opened:
        yield opened


@pytest.fixture
def validated_device(device_index: int) -> Iterator[Device]:
    """Each device at hand under the validation layer: its complaints are ValidationErrors."""
    try:
        opened = Device.open(device_index, validation=True)
    except DeviceError as error:
        if "not installed" not in str(error):
            raise
        missing(str(error))
    with opened:
        yield opened


@pytest.fixture(scope="session")
def compile_glsl(tmp_path_factory: pytest.TempPathFactory) -> CompileGlsl:
    """Compiles the text of a shader into a module named by its number."""
    folder = tmp_path_factory.mktemp("glsl")
    (folder / "sources").mkdir()
    library = Library(folder / "compiled", folder / "sources")
    known: dict[str, Module] = {}

    def compile_text(text: str) -> Module:
        if text not in known:
            try:
                shaderc.find_compiler()
            except ShaderError as error:
                missing(str(error))
            name = f"shader{len(known)}"
            (folder / "sources" / f"{name}.comp").write_text(f"#version 450\n{text}")
            known[text] = library.load(name)
        return known[text]

    return compile_text
