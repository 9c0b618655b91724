"""Build hook: compiles shaders/ into vkbackend/_spirv before a wheel or sdist is packed.

Where there is no compiler (pip building from an sdist), modules that are complete and fresh do.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShaderBuildHook(BuildHookInterface[Any]):
    """Compiles the shaders into the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles what is stale; a build that lacks shaders ends here, with one message.

        An editable installation goes on: there a shader is compiled when it is first used.
        """
        shaderc = _import_shaderc(Path(self.root))
        try:
            shaderc.build(shaderc.SOURCES, shaderc.COMPILED)
            if not shaderc.read_manifest(shaderc.COMPILED):
                raise shaderc.ShaderError(
                    f"no shaders in {shaderc.SOURCES}: a part of it is missing"
                )
        except shaderc.ShaderError as error:
            message = f"vkbackend cannot be built: {error}"
            self.app.display_warning(message) if version == "editable" else self.app.abort(message)


def _import_shaderc(root: Path) -> Any:
    """Imports vkbackend/shaderc.py without running vkbackend/__init__.py.

    A build runs in an environment without NumPy, so the package itself cannot be imported. An empty
    package of the same name, with the same folder, lets shaderc and the few modules that it imports
    (standard library only, all of them) be imported by their real names.
    """
    others = {
        name: module for name, module in sys.modules.items() if name.split(".")[0] == "vkbackend"
    }
    package = ModuleType("vkbackend")
    package.__path__ = [str(root / "vkbackend")]
    for name in others:
        del sys.modules[name]
    sys.modules["vkbackend"] = package
    try:
        return importlib.import_module("vkbackend.shaderc")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "vkbackend"]:
            del sys.modules[name]
        sys.modules.update(others)
