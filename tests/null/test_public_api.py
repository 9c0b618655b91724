"""The public names, and which module may import which."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vkbackend
from vkbackend import errors

PACKAGE = Path(vkbackend.__file__).parent
FOREIGN_READERS = {"onnx", "tflite", "tensorflow", "flatbuffers", "torch", "executorch"}

# Modules (first name below vkbackend) and what they reach neither directly nor through others.
BELOW = {
    ("errors", "env", "layouts", "gpu", "graph", "quant"): {"ops", "plan", "resolve", "device"},
    ("ops",): {"costs", "plan", "resolve", "frontends", "fileformat", "device", "shaders"},
    ("frontends",): {"costs", "plan", "resolve", "fileformat", "device", "shaders"},
    ("costs", "plan", "resolve", "fileformat", "reference", "signature"): {
        "frontends",
        "runtime",
        "device",
        "vk",
        "shaders",
    },
    ("vk", "device", "shaders"): {"runtime", "resolve", "ops", "graph"},
    ("runtime", "functional"): {"commands", "cli", "frontends"},
}


def imports(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Every import of a file and the module it names, but for those that only type checkers see."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "vkbackend":
            yield from ((node, f"vkbackend.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node, node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((node, part.value) for part in node.args if isinstance(part, ast.Constant))
        pending += ast.iter_child_nodes(node)


def source_files() -> list[Path]:
    """Every Python file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def unit_of(path: Path) -> str:
    """The first name of a file's module below vkbackend."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def reachable(units: tuple[str, ...]) -> set[str]:
    """What these modules import, and what that imports, and so on."""
    edges: dict[str, set[str]] = {}
    for path in source_files():
        names = [name.split(".") for _, name in imports(path)]
        found = {parts[1] for parts in names if parts[0] == "vkbackend" and len(parts) > 1}
        edges.setdefault(unit_of(path), set()).update(found)
    seen: set[str] = set()
    pending = list(units)
    while pending:
        unit = pending.pop()
        if unit not in seen:
            seen.add(unit)
            pending += edges.get(unit, ())
    return seen


@pytest.mark.parametrize("name", vkbackend.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(vkbackend, name)
    if name != "__version__":
        assert inspect.getdoc(value), f"vkbackend.{name} has no docstring"


def test_all_is_complete() -> None:
    helpers = {"annotations", "importlib", "TYPE_CHECKING", "Any"}
    found = {
        name
        for name, value in vars(vkbackend).items()
        if not name.startswith("_") and name not in helpers and not inspect.ismodule(value)
    }
    late = set(vkbackend._LATE)
    assert sorted(vkbackend.__all__) == sorted({*found, *late, "__version__"})
    assert set(dir(vkbackend)) >= set(vkbackend.__all__)


def test_every_error_class_is_public() -> None:
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes <= set(vkbackend.__all__)


def test_resolve_stays_the_function() -> None:
    code = (
        "import vkbackend as vkb; vkb.load, vkb.functional, vkb.reference, vkb.from_onnx; "
        "import vkbackend.resolve, vkbackend.cli; print(type(vkb.resolve).__name__)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "function\n"


def test_unknown_name() -> None:
    with pytest.raises(AttributeError) as caught:
        vkbackend.lod  # noqa: B018
    assert str(caught.value) == "module 'vkbackend' has no attribute 'lod'"


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import vkbackend, sys; print(sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = ast.literal_eval(subprocess.check_output([sys.executable, "-c", code], text=True))
    heavy = {"vulkan", "cffi", "onnxruntime", "sklearn", "PIL", "safetensors", *FOREIGN_READERS}
    assert not heavy.intersection(loaded)


def test_version_is_the_one_that_is_packed() -> None:
    project = PACKAGE.parent / "pyproject.toml"
    assert f'\nversion = "{vkbackend.__version__}"\n' in project.read_text()


@pytest.mark.parametrize("units", BELOW, ids=lambda units: units[0])
def test_imports_point_one_way(units: tuple[str, ...]) -> None:
    assert not reachable(units) & BELOW[units]


def test_only_vk_imports_the_vulkan_binding() -> None:
    users = {
        str(path.relative_to(PACKAGE))
        for path in source_files()
        for _, name in imports(path)
        if name.split(".")[0] == "vulkan"
    }
    assert users == {"vk.py"}


def test_foreign_readers_are_imported_late_and_in_frontends_only() -> None:
    for path in source_files():
        for node, name in imports(path):
            if name.split(".")[0] in FOREIGN_READERS:
                assert unit_of(path) == "frontends", f"{path} imports {name}"
                assert getattr(node, "col_offset", 0) > 0, f"{path} imports {name} at its top"
