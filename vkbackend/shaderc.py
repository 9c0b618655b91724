"""GLSL to SPIR-V through glslangValidator, and the manifest of what each compiled module takes.

Standard library only: the build hook uses this file where NumPy is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from vkbackend import env
from vkbackend.errors import ShaderError
from vkbackend.reflect import reflect
from vkbackend.shader_sources import Source, find_sources, shown_path

MINIMUM_GLSLANG = 15
MINIMUM_VALIDATOR = 2024  # an older spirv-val takes cooperative matrices for an error
MANIFEST = "manifest.json"
CHECKOUT = Path(__file__).parent.parent
SOURCES = CHECKOUT / "shaders"
COMPILED = Path(__file__).parent / "_spirv"

_TARGET = ("--target-env", "vulkan1.1")
_COMPLAINT = re.compile(r"^ERROR: (?:(.+?):(\d+): )?(.*)$", re.MULTILINE)
_NOISE = re.compile(r"\d+ compilation errors\.|'' : compilation terminated")
_SETUP = f"run `make setup`, or set {env.GLSLANG.name} to a newer one"


def build(
    source_directory: Path,
    output_directory: Path,
    *,
    force: bool = False,
    only: Collection[str] | None = None,
) -> list[str]:
    """Compiles the stale modules, all of them or `only` those named; returns the compiled names.

    Safe against other processes that build or read at the same time. Raises ShaderError when a
    module does not compile, or when something is stale and there is no compiler.
    """
    sources = find_sources(source_directory)
    with _locked(output_directory):
        manifest = read_manifest(output_directory)
        wanted = [source for name, source in sources.items() if only is None or name in only]
        stale = [s for s in wanted if force or not is_fresh(s, manifest, output_directory)]
        compiled, complaints = _compile_all(stale)
        for name, (entry, spirv) in compiled.items():
            manifest[name] = entry
            _replace(output_directory / f"{name}.spv", spirv)
        kept = {name: manifest[name] for name in sorted(manifest) if name in sources}
        if compiled or len(kept) < len(manifest):
            _replace(output_directory / MANIFEST, json.dumps(kept, indent=1).encode() + b"\n")
        _remove_others(output_directory, {f"{name}.spv" for name in kept})
    if complaints:
        raise ShaderError("\n".join(complaints))
    return list(compiled)


def read_manifest(output_directory: Path) -> dict[str, Any]:
    """What is compiled: module name -> hash, sha256 (of the SPIR-V) and interface.

    Empty where there is none; entries that are damaged count as missing.
    """
    try:
        manifest = json.loads((output_directory / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    fields = {"hash", "sha256", "interface"}
    entries = manifest.items() if isinstance(manifest, dict) else ()
    return {
        name: entry for name, entry in entries if isinstance(entry, dict) and fields <= {*entry}
    }


def is_fresh(source: Source, manifest: dict[str, Any], output_directory: Path) -> bool:
    """Whether a module was compiled from the text that its source has now."""
    entry = manifest.get(source.module)
    if entry is None or entry["hash"] != source.hash():
        return False
    try:
        spirv = (output_directory / f"{source.module}.spv").read_bytes()
    except OSError:
        return False
    return bool(hashlib.sha256(spirv).hexdigest() == entry["sha256"])


def find_compiler(path: str | None = None) -> Path:
    """The glslangValidator to use: `path`, else VKBACKEND_GLSLANG, the checkout's own, or PATH's.

    Raises ShaderError when there is none, or when it is older than version 15.
    """
    own = CHECKOUT / ".tools/bin/glslangValidator"
    given = path or env.GLSLANG.read()
    found = given or (str(own) if own.exists() else shutil.which("glslangValidator"))
    if not found:
        raise ShaderError(
            f"no glslangValidator in {env.GLSLANG.name}, .tools/bin or PATH; version "
            f"{MINIMUM_GLSLANG} or newer is needed to compile shaders: {_SETUP}"
        )
    version = _version(found, r"Glslang Version: \d+:(\d+)\.(\d+)\.(\d+)")
    if version is None:
        raise ShaderError(f"{found} is no glslangValidator that runs: {_SETUP}")
    if version[0] < MINIMUM_GLSLANG:
        raise ShaderError(
            f"{found} is version {'.'.join(map(str, version))}; version {MINIMUM_GLSLANG} or newer "
            f"is needed to compile shaders: {_SETUP}"
        )
    return Path(found)


def find_validator() -> Path | None:
    """The checkout's own spirv-val or PATH's, where there is one that knows today's extensions."""
    own = CHECKOUT / ".tools/bin/spirv-val"
    found = str(own) if own.exists() else shutil.which("spirv-val")
    version = _version(found, r"SPIRV-Tools v(\d+)\.(\d+)") if found else None
    return Path(found) if found and version and version[0] >= MINIMUM_VALIDATOR else None


def compile_source(source: Source, compiler: Path, validator: Path | None = None) -> bytes:
    """The SPIR-V of one module. Raises ShaderError with the complaints, each with file and line."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "module.spv")
        defines = [f"-D{define}" for define in source.defines]
        include = f"-I{source.path.parent / 'include'}"
        arguments = [*_TARGET, include, *defines, "-o", str(output), str(source.path)]
        ran = _run([str(compiler), "-V", "--quiet", "-S", "comp", *arguments])
        if ran.returncode != 0 or not output.exists():
            raise ShaderError(_complaints(source, compiler, ran))
        if validator is not None:
            checked = _run([str(validator), *_TARGET, str(output)])
            if checked.returncode != 0:
                said = " ".join(checked.stdout.split())
                raise ShaderError(
                    f"{shown_path(source.path, source.path)}: {validator.name}: {said}"
                )
        return output.read_bytes()


def _compile_all(
    stale: list[Source],
) -> tuple[dict[str, tuple[dict[str, Any], bytes]], list[str]]:
    """Manifest entry and SPIR-V of every module that compiles, and the complaints of the others."""
    if not stale:
        return {}, []
    compiler, validator = find_compiler(), find_validator()

    def attempt(source: Source) -> tuple[dict[str, Any], bytes] | ShaderError:
        # The hash comes first: an edit made meanwhile leaves the module stale.
        entry: dict[str, Any] = {"hash": source.hash()}
        try:
            spirv = compile_source(source, compiler, validator)
        except ShaderError as error:
            return error
        try:
            entry["interface"] = reflect(spirv).to_json()
        except ShaderError as error:
            return ShaderError(f"{shown_path(source.path, source.path)}: {error}")
        return entry | {"sha256": hashlib.sha256(spirv).hexdigest()}, spirv

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(attempt, stale))
    compiled: dict[str, tuple[dict[str, Any], bytes]] = {}
    modules_of: defaultdict[str, list[str]] = defaultdict(list)  # variants share most complaints
    for source, result in zip(stale, results, strict=True):
        if isinstance(result, ShaderError):
            modules_of[str(result)].append(source.module)
        else:
            compiled[source.module] = result
    return compiled, [
        f"cannot compile {', '.join(modules)}:\n{complaint}"
        for complaint, modules in modules_of.items()
    ]


def _complaints(source: Source, compiler: Path, ran: subprocess.CompletedProcess[str]) -> str:
    """What the compiler printed, one a line, each as `shaders/file.comp:line: message`."""
    own = shown_path(source.path, source.path)
    located, others = [], []
    for path, line, message in _COMPLAINT.findall(ran.stdout):
        message = " ".join(message.split())
        if path and not _NOISE.match(message):
            located.append(f"{shown_path(Path(path), source.path)}:{line}: {message}")
        elif not _NOISE.match(message):
            others.append(f"{own}: {message}")  # of the linker, which follow from the located ones
    if located or others:
        return "\n".join(dict.fromkeys(located or others))
    said = " ".join(ran.stdout.split()) or "nothing"
    return f"{own}: {compiler.name} ended with status {ran.returncode} and said: {said}"


@cache
def _version(program: str, pattern: str) -> tuple[int, ...] | None:
    """The version that a program states; None when it does not run or states none."""
    try:
        found = re.search(pattern, _run([program, "--version"]).stdout)
    except OSError:
        return None
    return tuple(map(int, found.groups())) if found else None


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@contextlib.contextmanager
def _locked(output_directory: Path) -> Iterator[None]:
    """Makes the folder, and keeps every other process that builds into it waiting."""
    try:
        output_directory.mkdir(parents=True, exist_ok=True)
        lock = (output_directory / ".lock").open("w")
    except OSError as error:
        raise ShaderError(
            f"cannot write compiled shaders into {output_directory}: {error.strerror}"
        ) from error
    with lock:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(path: Path, content: bytes) -> None:
    """Writes a file at once: a reader sees the old content or the new, never a part."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def _remove_others(output_directory: Path, kept: Collection[str]) -> None:
    """Removes modules without a source, and what an interrupted run left behind."""
    for path in output_directory.iterdir():
        if path.name not in (*kept, MANIFEST, ".lock"):
            path.unlink()


def main() -> int:
    """`make shaders`: compiles what is stale, and says what it compiled."""
    parser = argparse.ArgumentParser(description="Compiles the shaders whose sources changed.")
    parser.add_argument("--force", action="store_true", help="compile all of them")
    try:
        compiled = build(SOURCES, COMPILED, force=parser.parse_args().force)
    except ShaderError as error:
        print(error, file=sys.stderr)
        return 1
    total = len(find_sources(SOURCES))
    print(f"compiled {len(compiled)} of {total} modules", *compiled, sep="\n  ")
    return 0
