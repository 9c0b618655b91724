"""Finds a compiled shader and its interface. In a checkout, a changed shader is rebuilt first."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vkbackend import shader_sources, shaderc
from vkbackend.errors import ShaderError
from vkbackend.reflect import ModuleInterface


@dataclass(frozen=True)
class Module:
    """A compiled compute module. `digest` is the SHA-256 of `spirv`, in hex."""

    name: str
    spirv: bytes
    interface: ModuleInterface
    digest: str


@dataclass(frozen=True)
class Library:
    """A folder of compiled modules, and the folder of their sources where there is one."""

    compiled: Path
    sources: Path | None = None

    def names(self) -> list[str]:
        """Names of all modules, sorted."""
        if self.sources is not None:
            return sorted(shader_sources.find_sources(self.sources))
        return sorted(shaderc.read_manifest(self.compiled))

    def load(self, name: str) -> Module:
        """Reads one module. Raises ShaderError when it is missing, damaged, or does not compile."""
        if self.sources is not None:
            self._refresh(name, self.sources)
        entry = shaderc.read_manifest(self.compiled).get(name)
        if entry is None:
            raise self._missing(name)
        try:
            spirv = (self.compiled / f"{name}.spv").read_bytes()
        except OSError:
            spirv = b""
        digest = hashlib.sha256(spirv).hexdigest()
        if digest != entry["sha256"]:
            raise ShaderError(
                f"shader {name!r}: {self.compiled / name}.spv is damaged or missing: "
                "install vkbackend again"
            )
        return Module(name, spirv, ModuleInterface.from_json(entry["interface"]), digest)

    def _refresh(self, name: str, sources: Path) -> None:
        """Compiles a module whose source or includes changed; looks at no other module."""
        path = sources / f"{name.split('.')[0]}.comp"
        variants = shader_sources.variants(path) if path.is_file() else []
        found = {source.module: source for source in variants}
        if name not in found:
            raise self._missing(name)
        if shaderc.is_fresh(found[name], shaderc.read_manifest(self.compiled), self.compiled):
            return
        try:
            shaderc.build(sources, self.compiled, only=[name])
        except ShaderError as error:
            raise ShaderError(f"shader {name!r} must be compiled first: {error}") from error

    def _missing(self, name: str) -> ShaderError:
        names = self.names()
        if not names:
            return ShaderError(
                f"no shader {name!r}: {self.compiled} holds no compiled shaders: "
                "install vkbackend again"
            )
        near = [other for other in names if other.split(".")[0] == name.split(".")[0]]
        near = near or difflib.get_close_matches(name, names, n=5, cutoff=0.5) or names[:5]
        return ShaderError(f"no shader {name!r}; near names are {', '.join(near)}")


def _own_library() -> Library:
    # Beside an installed package, a folder named shaders is somebody else's.
    is_checkout = (shaderc.CHECKOUT / "hatch_build.py").is_file() and shaderc.SOURCES.is_dir()
    return Library(shaderc.COMPILED, shaderc.SOURCES if is_checkout else None)


@cache
def load(name: str) -> Module:
    """The compiled module of that name; each is read, and in a checkout checked, once per process.

    Raises ShaderError when there is none, when it is damaged, or when it does not compile.
    """
    return _own_library().load(name)


def names() -> list[str]:
    """Names of all compute modules, sorted."""
    return _own_library().names()
