"""Every environment variable that the package reads, in one table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Variable:
    """One VKBACKEND_* variable: its name, what it does, and its default as text."""

    name: str
    meaning: str
    default: str = ""

    def read(self) -> str:
        """The variable's value now, or its default where it is unset or empty."""
        return os.environ.get(self.name) or self.default


DEVICE = Variable(
    "VKBACKEND_DEVICE", "device to use: an index, or a part of its name (see `vkbackend devices`)"
)
VALIDATION = Variable(
    "VKBACKEND_VALIDATION", "1: run under the Vulkan validation layer; its complaints become errors"
)
CACHE_DIR = Variable(
    "VKBACKEND_CACHE_DIR", "folder of pipeline caches and self-test verdicts", "~/.cache/vkbackend"
)
GLSLANG = Variable("VKBACKEND_GLSLANG", "path of the glslangValidator (15 or newer) to use")
SHARED = Variable("VKBACKEND_SHARED", "tests only: folder of reference networks", "../shared")

VARIABLES = (DEVICE, VALIDATION, CACHE_DIR, GLSLANG, SHARED)


def cache_directory() -> Path:
    """Folder of everything that can be made again; it may not exist yet."""
    if CACHE_DIR.read() == CACHE_DIR.default and os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "vkbackend"
    return Path(CACHE_DIR.read()).expanduser()


def validation_requested() -> bool:
    """Whether VKBACKEND_VALIDATION asks for the validation layer."""
    return VALIDATION.read() not in ("", "0")
