"""Loading modules: in a checkout they follow their sources, in an installation they are read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from vkbackend import shader_sources, shaderc, shaders
from vkbackend.errors import ShaderError
from vkbackend.reflect import Binding
from vkbackend.shaders import Library

TEXT = """#version 450
#extension GL_GOOGLE_include_directive : require
#include "one.glsl"
layout(local_size_x = 8) in;
layout(binding = 0) buffer Words { int words[]; };
void main() { words[0] = ONE; }
"""
VARIANTS = TEXT.replace("450", "450\n#pragma variants DOT plain signed mixed")


@pytest.fixture
def checkout(tmp_path: Path) -> Library:
    (tmp_path / "shaders" / "include").mkdir(parents=True)
    (tmp_path / "shaders" / "include" / "one.glsl").write_text("const int ONE = 1;\n")
    (tmp_path / "shaders" / "relayout.comp").write_text(TEXT)
    (tmp_path / "shaders" / "conv2d_direct.comp").write_text(VARIANTS)
    return Library(tmp_path / "compiled", tmp_path / "shaders")


@pytest.fixture
def installed(checkout: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    assert checkout.sources is not None
    shaderc.build(checkout.sources, checkout.compiled)
    monkeypatch.setenv("VKBACKEND_GLSLANG", "/nowhere/glslang")
    return Library(checkout.compiled)


def compiled_names(library: Library) -> list[str]:
    return list(shaderc.read_manifest(library.compiled))


def failure(library: Library, name: str) -> str:
    with pytest.raises(ShaderError) as error:
        library.load(name)
    return str(error.value)


NAMES = ["conv2d_direct.mixed", "conv2d_direct.plain", "conv2d_direct.signed", "relayout"]


def test_names(checkout: Library, installed: Library) -> None:
    assert checkout.names() == NAMES
    assert installed.names() == NAMES


def test_an_installed_module_is_read(installed: Library) -> None:
    module = installed.load("conv2d_direct.signed")
    assert module.name == "conv2d_direct.signed"
    assert module.spirv == (installed.compiled / "conv2d_direct.signed.spv").read_bytes()
    assert module.digest == hashlib.sha256(module.spirv).hexdigest()
    assert module.interface.bindings == {"Words": Binding(0, "read_write")}
    assert module.interface.local_size == (8, 1, 1)


def test_a_checkout_compiles_what_is_used_and_nothing_else(checkout: Library) -> None:
    checkout.load("conv2d_direct.plain")
    assert compiled_names(checkout) == ["conv2d_direct.plain"]


def test_a_changed_source_or_include_is_compiled_when_used(checkout: Library) -> None:
    assert checkout.sources is not None
    first = checkout.load("relayout").digest
    assert checkout.load("relayout").digest == first
    (checkout.sources / "include" / "one.glsl").write_text("const int ONE = 11;\n")
    second = checkout.load("relayout").digest
    (checkout.sources / "relayout.comp").write_text(TEXT.replace("= ONE", "= ONE + words[1]"))
    assert len({first, second, checkout.load("relayout").digest}) == 3


def test_a_changed_source_without_a_compiler(checkout: Library, installed: Library) -> None:
    assert checkout.sources is not None
    assert checkout.load("relayout") == installed.load("relayout")
    (checkout.sources / "relayout.comp").write_text(TEXT.replace("= ONE", "= ONE + 1"))
    assert failure(checkout, "relayout") == (
        "shader 'relayout' must be compiled first: /nowhere/glslang is no glslangValidator that "
        "runs: run `make setup`, or set VKBACKEND_GLSLANG to a newer one"
    )


def test_a_source_that_does_not_compile(checkout: Library) -> None:
    assert checkout.sources is not None
    (checkout.sources / "relayout.comp").write_text(TEXT.replace("words[0] = ONE", "unknown()"))
    assert failure(checkout, "relayout") == (
        "shader 'relayout' must be compiled first: cannot compile relayout:\n"
        "shaders/relayout.comp:6: 'unknown' : no matching overloaded function found"
    )


@pytest.mark.parametrize("kind", ["checkout", "installed"])
def test_a_missing_module_lists_near_names(kind: str, request: pytest.FixtureRequest) -> None:
    library: Library = request.getfixturevalue(kind)
    assert failure(library, "relaiout") == "no shader 'relaiout'; near names are relayout"
    assert failure(library, "conv2d_direct") == (
        "no shader 'conv2d_direct'; near names are conv2d_direct.mixed, conv2d_direct.plain, "
        "conv2d_direct.signed"
    )
    assert failure(library, "zzz") == f"no shader 'zzz'; near names are {', '.join(NAMES)}"


def test_an_empty_or_damaged_installation(installed: Library, tmp_path: Path) -> None:
    path = installed.compiled / "relayout.spv"
    path.write_bytes(path.read_bytes()[:-4])
    assert failure(installed, "relayout") == (
        f"shader 'relayout': {path} is damaged or missing: install vkbackend again"
    )
    path.unlink()
    assert failure(installed, "relayout") == (
        f"shader 'relayout': {path} is damaged or missing: install vkbackend again"
    )
    empty = Library(tmp_path / "empty")
    assert failure(empty, "relayout") == (
        f"no shader 'relayout': {tmp_path / 'empty'} holds no compiled shaders: "
        "install vkbackend again"
    )


def test_the_package_follows_its_own_sources() -> None:
    names = shaders.names()
    assert names == sorted(shader_sources.find_sources(shaderc.SOURCES))
    if names:
        assert shaders.load(names[0]) is shaders.load(names[0])
