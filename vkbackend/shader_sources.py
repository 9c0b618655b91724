"""Which compute modules the GLSL sources make, and what each of them is made of.

A source declares its preprocessor variants in lines `#pragma variants NAME VALUE VALUE ...`:
`conv2d.comp` with `#pragma variants DOT plain signed` makes the modules `conv2d.plain` (compiled
with -DDOT_PLAIN) and `conv2d.signed` (with -DDOT_SIGNED). Several such lines multiply.

Standard library only: the build hook uses this file where NumPy is not installed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from vkbackend.errors import ShaderError

_FORM = "1"  # part of every hash: raise it when the manifest's form or the compiler's flags change
_VARIANTS = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+variants\b(.*)$", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">\n]+)[">]', re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A module to compile: its name, its file, and the preprocessor names it is compiled with."""

    module: str
    path: Path
    defines: tuple[str, ...] = ()

    def hash(self) -> str:
        """SHA-256 in hex over all that the module is made of: text, includes and defines."""
        # Not the compiler's version: a module built elsewhere is as good as one built here.
        digest = hashlib.sha256("\n".join((_FORM, self.module, *self.defines)).encode())
        for path in _reached(self.path):
            text = path.read_bytes()
            label = Path(os.path.relpath(path, self.path.parent)).as_posix()
            digest.update(f"\n{label} {len(text)}\n".encode() + text)
        return digest.hexdigest()


def find_sources(source_directory: Path) -> dict[str, Source]:
    """Every module that the *.comp files of a folder make, by name.

    Raises ShaderError on a `#pragma variants` line or a file name that cannot be right.
    """
    found: dict[str, Source] = {}
    for path in sorted(source_directory.glob("*.comp")):
        if not path.stem.isidentifier():
            raise ShaderError(
                f"{shown_path(path, path)}: a shader's name has letters, digits and _ only"
            )
        for source in variants(path):
            found[source.module] = source
    return found


def variants(path: Path) -> list[Source]:
    """The modules that one source makes. Raises ShaderError on a malformed `#pragma variants`."""
    axes: list[list[tuple[str, str]]] = []
    text = _text(path)
    for pragma in _VARIANTS.finditer(text):
        words = pragma[1].split("//")[0].split()
        if len(words) < 2 or len(set(words)) < len(words) or not all(map(str.isidentifier, words)):
            line = text.count("\n", 0, pragma.start()) + 1
            raise ShaderError(
                f"{shown_path(path, path)}:{line}: `#pragma variants` takes a name and one or more "
                f"distinct values, got {' '.join(words) or 'nothing'!r}"
            )
        axes.append([(value, f"{words[0]}_{value}".upper()) for value in words[1:]])
    sources = []
    for pick in itertools.product(*axes):
        name = ".".join((path.stem, *(value for value, _ in pick)))
        sources.append(Source(name, path, tuple(define for _, define in pick)))
    return sources


def shown_path(path: Path, source: Path) -> str:
    """A path as the messages have it: from the folder above the sources, `shaders/file.comp`."""
    return Path(os.path.relpath(path, source.parent.parent)).as_posix()


def _text(path: Path) -> str:
    # What is not UTF-8 can stand in comments only, which is the compiler's business.
    return path.read_text(encoding="utf-8", errors="replace")


def _reached(path: Path) -> list[Path]:
    """A source and every include that it reaches, each once, in the order of reading."""
    reached = [path]
    for current in reached:  # grows while it is read
        for name in _INCLUDE.findall(_text(current)):
            # The compiler's order: beside the including file, then the include folder.
            for folder in (current.parent, path.parent / "include"):
                candidate = Path(os.path.normpath(folder / name))
                if candidate.is_file():
                    if candidate not in reached:
                        reached.append(candidate)
                    break
    return reached
