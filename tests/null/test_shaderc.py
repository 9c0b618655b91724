"""Compiling: variants, complaints with file and line, staleness, the compiler that is chosen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vkbackend import shaderc
from vkbackend.errors import ShaderError
from vkbackend.shader_sources import Source, find_sources

HEAD = """#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 8) in;
layout(binding = 0) buffer Words { int words[]; };
"""
PLAIN = HEAD + "void main() { words[0] = 1; }\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shaders" / "include").mkdir(parents=True)
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / "shaders" / name
    path.write_text(text)
    return path


def build(folder: Path, force: bool = False) -> list[str]:
    return shaderc.build(folder / "shaders", folder / "compiled", force=force)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "compiled").iterdir() if path.name[0] != ".")


def failure(folder: Path) -> str:
    with pytest.raises(ShaderError) as error:
        build(folder)
    return str(error.value)


def program(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_variants_multiply_and_reach_the_preprocessor(folder: Path) -> None:
    path = write(
        folder,
        "gemm.comp",
        "#version 450\n#pragma variants DOT plain signed\n"
        " # pragma variants MODE float fixed // not a value\n"
        "layout(local_size_x = 1) in;\n"
        "#if defined DOT_SIGNED && defined MODE_FIXED\n"
        "layout(constant_id = 0) const int ONLY_HERE = 1;\n"
        "#endif\n"
        "void main() {}\n",
    )
    expected = [
        Source("gemm.plain.float", path, ("DOT_PLAIN", "MODE_FLOAT")),
        Source("gemm.plain.fixed", path, ("DOT_PLAIN", "MODE_FIXED")),
        Source("gemm.signed.float", path, ("DOT_SIGNED", "MODE_FLOAT")),
        Source("gemm.signed.fixed", path, ("DOT_SIGNED", "MODE_FIXED")),
    ]
    assert list(find_sources(folder / "shaders").values()) == expected
    assert build(folder) == [source.module for source in expected]
    manifest = json.loads((folder / "compiled" / "manifest.json").read_text())
    assert [name for name in manifest if manifest[name]["interface"]["constants"]] == [
        "gemm.signed.fixed"
    ]


@pytest.mark.parametrize("words", ["", "DOT", "DOT plain plain", "DOT plain,signed"])
def test_a_malformed_variants_line_is_an_error(words: str, folder: Path) -> None:
    write(folder, "gemm.comp", f"#version 450\n#pragma variants {words}\nvoid main() {{}}\n")
    assert failure(folder) == (
        "shaders/gemm.comp:2: `#pragma variants` takes a name and one or more distinct values, "
        f"got {words or 'nothing'!r}"
    )


def test_a_name_with_dots_is_an_error(folder: Path) -> None:
    write(folder, "gemm.plain.comp", PLAIN)
    assert failure(folder) == (
        "shaders/gemm.plain.comp: a shader's name has letters, digits and _ only"
    )


def test_complaints_have_file_and_line_and_name_every_module(folder: Path) -> None:
    write(folder, "include/half.glsl", "// half\n#error no halves\n")
    write(
        folder,
        "bad.comp",
        HEAD.replace("450", "450\n#pragma variants DOT plain signed")
        + '#include "half.glsl"\nvoid main() {}\n',
    )
    write(folder, "good.comp", PLAIN)
    write(folder, "typo.comp", PLAIN.replace("words[0] = 1", "unknown()"))
    assert failure(folder) == (
        "cannot compile bad.plain, bad.signed:\n"
        "shaders/include/half.glsl:2: '#error' : no halves\n"
        "cannot compile typo:\n"
        "shaders/typo.comp:5: 'unknown' : no matching overloaded function found"
    )
    assert files(folder) == ["good.spv", "manifest.json"]


def test_a_missing_entry_point_is_said(folder: Path) -> None:
    write(folder, "empty.comp", "#version 450\n")
    assert failure(folder) == (
        "cannot compile empty:\nshaders/empty.comp: Linking compute stage: Missing entry point: "
        "Each stage requires one entry point"
    )


def test_what_reflection_refuses_has_the_file(folder: Path) -> None:
    write(folder, "far.comp", PLAIN.replace("binding = 0", "set = 2, binding = 0"))
    assert failure(folder) == (
        "cannot compile far:\nshaders/far.comp: 'Words' is in set 2: only set 0 is used"
    )


def test_a_missing_include_is_said(folder: Path) -> None:
    write(folder, "lost.comp", HEAD + '#include "nowhere.glsl"\nvoid main() {}\n')
    assert failure(folder) == (
        "cannot compile lost:\nshaders/lost.comp:5: '#include' : Could not process include "
        "directive for header name: nowhere.glsl"
    )


def test_the_validator_has_the_last_word(folder: Path) -> None:
    path = write(folder, "odd.comp", PLAIN)
    validator = Path(program(folder, "spirv-val", 'echo "error: line 3: no"; exit 1'))
    with pytest.raises(ShaderError) as error:
        shaderc.compile_source(Source("odd", path), shaderc.find_compiler(), validator)
    assert str(error.value) == "shaders/odd.comp: spirv-val: error: line 3: no"


def test_a_compiler_that_crashes_is_said(folder: Path) -> None:
    path = write(folder, "odd.comp", PLAIN)
    compiler = Path(program(folder, "glslangValidator", "echo oh; exit 9"))
    with pytest.raises(ShaderError) as error:
        shaderc.compile_source(Source("odd", path), compiler)
    assert str(error.value) == (
        "shaders/odd.comp: glslangValidator ended with status 9 and said: oh"
    )


def test_only_what_changed_is_compiled_again(folder: Path) -> None:
    write(folder, "include/inner.glsl", "const int INNER = 1;\n")
    write(folder, "include/outer.glsl", '#include "inner.glsl"\nconst int OUTER = INNER;\n')
    write(folder, "alone.comp", PLAIN)
    uses = HEAD + '#include "outer.glsl"\nvoid main() { words[0] = OUTER; }\n'
    write(folder, "user.comp", uses)
    assert build(folder) == ["alone", "user"]
    before = (folder / "compiled" / "manifest.json").stat()
    assert build(folder) == []
    assert (folder / "compiled" / "manifest.json").stat() == before
    write(folder, "include/inner.glsl", "const int INNER = 2;\n")
    assert build(folder) == ["user"]
    write(folder, "user.comp", uses.replace("= OUTER", "= OUTER + 1"))
    assert build(folder) == ["user"]
    assert build(folder, force=True) == ["alone", "user"]
    sources, compiled = folder / "shaders", folder / "compiled"
    assert shaderc.build(sources, compiled, force=True, only=["alone"]) == ["alone"]


def test_a_damaged_or_missing_module_is_compiled_again(folder: Path) -> None:
    write(folder, "one.comp", PLAIN)
    write(folder, "two.comp", PLAIN)
    build(folder)
    (folder / "compiled" / "one.spv").write_bytes(b"half")
    assert build(folder) == ["one"]
    (folder / "compiled" / "two.spv").unlink()
    assert build(folder) == ["two"]
    (folder / "compiled" / "manifest.json").write_text('{"one": {"hash"')
    assert build(folder) == ["one", "two"]
    (folder / "compiled" / "manifest.json").write_text('{"one": {"hash": ""}, "two": 3}')
    assert build(folder) == ["one", "two"]


def test_what_has_no_source_is_removed(folder: Path) -> None:
    write(folder, "kept.comp", PLAIN)
    gone = write(folder, "gone.comp", PLAIN)
    build(folder)
    gone.unlink()
    (folder / "compiled" / "kept.spv.partial").write_bytes(b"of an interrupted run")
    assert build(folder) == []
    assert files(folder) == ["kept.spv", "manifest.json"]
    assert list(shaderc.read_manifest(folder / "compiled")) == ["kept"]


def test_two_processes_can_build_at_once(folder: Path) -> None:
    for index in range(4):
        write(folder, f"shader{index}.comp", PLAIN)
    code = (
        "import sys; from pathlib import Path; from vkbackend import shaderc\n"
        "print(len(shaderc.build(Path(sys.argv[1]), Path(sys.argv[2]))))"
    )
    command = [sys.executable, "-c", code, str(folder / "shaders"), str(folder / "compiled")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    counts = [int(process.communicate()[0]) for process in running]
    assert sorted(counts) == [0, 0, 4]
    assert build(folder) == []


def test_a_fresh_folder_needs_no_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "one.comp", PLAIN)
    build(folder)
    monkeypatch.setenv("VKBACKEND_GLSLANG", "/nowhere/glslang")
    assert build(folder) == []
    write(folder, "one.comp", PLAIN.replace("= 1", "= 2"))
    assert failure(folder) == (
        "/nowhere/glslang is no glslangValidator that runs: run `make setup`, or set "
        "VKBACKEND_GLSLANG to a newer one"
    )


def test_an_old_compiler_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = program(folder, "glslangValidator", 'echo "Glslang Version: 11:12.0.0"')
    message = (
        f"{old} is version 12.0.0; version 15 or newer is needed to compile shaders: "
        "run `make setup`, or set VKBACKEND_GLSLANG to a newer one"
    )
    monkeypatch.setenv("VKBACKEND_GLSLANG", old)
    with pytest.raises(ShaderError) as error:
        shaderc.find_compiler()
    assert str(error.value) == message
    monkeypatch.delenv("VKBACKEND_GLSLANG")
    with pytest.raises(ShaderError) as error:
        shaderc.find_compiler(old)
    assert str(error.value) == message


def test_no_compiler_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shaderc, "CHECKOUT", folder)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("VKBACKEND_GLSLANG", raising=False)
    write(folder, "one.comp", PLAIN)
    assert failure(folder) == (
        "no glslangValidator in VKBACKEND_GLSLANG, .tools/bin or PATH; version 15 or newer is "
        "needed to compile shaders: run `make setup`, or set VKBACKEND_GLSLANG to a newer one"
    )
    new = program(folder, "glslangValidator", 'echo "Glslang Version: 11:15.0.0"')
    assert shaderc.find_compiler() == Path(new)


def test_an_old_validator_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shaderc, "CHECKOUT", folder)
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    found = program(folder, "spirv-val", 'echo "SPIRV-Tools v2023.1 unknown hash"')
    assert shaderc.find_validator() is None
    (folder / ".tools" / "bin").mkdir(parents=True)
    own = program(folder, ".tools/bin/spirv-val", 'echo "SPIRV-Tools v2025.1 unknown hash"')
    assert shaderc.find_validator() == Path(own) != Path(found)


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    write(folder, "one.comp", PLAIN)
    (folder / "compiled").write_text("a file where the folder should be")
    assert failure(folder) == (
        f"cannot write compiled shaders into {folder / 'compiled'}: File exists"
    )
