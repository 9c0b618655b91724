"""Compilers of GPUs that are not here: Mesa's real drivers, as `make vendor-drivers` fetches them.

A shim plays the hardware's part, so pipelines compile and nothing executes. Each driver runs in a
process of its own (vendor_worker.py), in a root with its own C library and Python; those of Mali
are arm64 programs, which QEMU runs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from vkbackend import shaderc, shaders
from vkbackend.errors import DeviceError, KernelError
from vkbackend.gpu import GpuInfo
from vkbackend.layouts import LAYOUTS
from vkbackend.ops.base import Constant
from vkbackend.plan import Plan
from vkbackend.vendor_code import Report, read_report

FOLDER = shaderc.CHECKOUT / ".tools" / "vendor"
_LAYOUT_NAMES = {layout.code: name for name, layout in LAYOUTS.items()}


@dataclass(frozen=True)
class Driver:
    """One of Mesa's drivers: the machine it is a program for, its files, and the GPUs it can be
    told to see, each with the number that its shim knows it by."""

    machine: str
    icd: str
    shim: str = ""
    variable: str = ""
    gpus: Mapping[str, str] | None = None


_ADRENOS = ("610", "618", "660", "702", "730", "740", "750", "810", "830")
DRIVERS = {
    "turnip": Driver(
        "x86_64",
        "freedreno_icd.json",
        "libfreedreno_noop_drm_shim.so",
        "FD_GPU_ID",
        {number: number for number in _ADRENOS},
    ),
    "panvk": Driver(
        "aarch64",
        "panfrost_icd.json",
        "libpanfrost_noop_drm_shim.so",
        "PAN_GPU_ID",
        {"G310": "ac74", "G610": "a867"},
    ),
    "radv": Driver(
        "x86_64",
        "radeon_icd.json",
        "libamdgpu_noop_drm_shim.so",
        "AMDGPU_GPU_ID",
        {"navi31": "navi31", "gfx1201": "gfx1201"},
    ),
    "lavapipe": Driver("x86_64", "lvp_icd.json", gpus={"26": ""}),
}


def names() -> list[str]:
    """Every driver and GPU, as `driver:gpu`."""
    return [f"{name}:{gpu}" for name, driver in DRIVERS.items() for gpu in driver.gpus or ()]


@dataclass(frozen=True)
class Kernel:
    """A compute pipeline to make: a shader and its specialisation constants."""

    shader: str
    constants: tuple[tuple[str, Constant], ...]

    def __str__(self) -> str:
        """The shader with its constants, those of layouts by name."""
        return f"{self.shader}({', '.join(self.settings())})"

    def settings(self) -> list[str]:
        """Each constant as `NAME=value`."""
        return [f"{name}={self._value(name, value)}" for name, value in self.constants]

    @staticmethod
    def _value(name: str, value: Constant) -> str:
        is_layout = name.endswith("_LAYOUT") and value in _LAYOUT_NAMES
        return _LAYOUT_NAMES[int(value)] if is_layout else str(value)


def kernels_of(plan: Plan) -> dict[Kernel, list[str]]:
    """Every distinct kernel of a plan, in order, with the nodes that use it."""
    kernels: dict[Kernel, list[str]] = {}
    for step in plan.steps:
        for dispatch in step.dispatches():
            kernel = Kernel(dispatch.shader, tuple(dispatch.constants.items()))
            users = kernels.setdefault(kernel, [])
            if step.node.name not in users:
                users.append(step.node.name)
    return kernels


class Compiler:
    """A running driver. Close it, or use `with`."""

    def __init__(self, name: str) -> None:
        """Starts `driver:gpu`, which takes seconds, under QEMU half a minute.

        Raises DeviceError on another name, and where the drivers are not there.
        """
        self.name = name
        kind, _, gpu = name.partition(":")
        if name not in names():
            raise DeviceError(f"no driver {name!r}; there are {', '.join(names())}")
        self._kind, driver = kind, DRIVERS[kind]
        variables = environment(driver)
        if driver.variable:
            variables[driver.variable] = (driver.gpus or {})[gpu]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [*command(driver), "-m", "vkbackend.vendor_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=variables,
            text=True,
        )
        try:
            self.gpu = GpuInfo.from_json(self._answer("starting")["gpu"])
        except BaseException:
            self.close()
            raise

    def compile(self, kernel: Kernel) -> Report:
        """What the driver's compiler makes of a kernel.

        Raises KernelError where it refuses, DeviceError where it crashes.
        """
        module = shaders.load(kernel.shader)
        request = {
            "shader": module.name,
            "spirv": base64.b64encode(module.spirv).decode(),
            "interface": module.interface.to_json(),
            "constants": dict(kernel.constants),
        }
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # _answer says why the process has ended
            print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = self._answer(f"compiling {kernel}", kernel)
        return read_report(self._kind, answer["statistics"], answer["assembly"])

    def _answer(self, what: str, kernel: Kernel | None = None) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip().splitlines()[-5:]
            raise DeviceError(
                f"{self.name}: the driver's process ended with code {code} while {what}; it said: "
                + ("\n".join(said) or "nothing")
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer and kernel is not None:
            raise KernelError(f"{self.name}: {answer['error']}", "", kernel.shader)
        if "error" in answer:
            raise DeviceError(f"{self.name}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends the driver's process; a second call does nothing."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process.kill()
        self._process.wait()
        self._said.close()

    def __enter__(self) -> Compiler:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _root(driver: Driver) -> Path:
    """The unpacked system of a driver; DeviceError where it is not there."""
    root = FOLDER / driver.machine
    if not root.is_dir() or not (FOLDER / "modules").is_dir():
        raise DeviceError(
            f"the vendors' drivers are not in {FOLDER}: run `make vendor-drivers` in a checkout "
            "of vkbackend (Debian 12 or newer on x86_64; downloads 240 MB, installs nothing)"
        )
    return root


def _libraries(driver: Driver) -> Path:
    return _root(driver) / f"usr/lib/{driver.machine}-linux-gnu"


def environment(driver: Driver) -> dict[str, str]:
    """Nothing of this process's but its home: its loader and Python settings are for others."""
    root = _root(driver)
    return {
        **{name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ},
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": str(FOLDER / "modules"),
        "PYTHONUTF8": "1",
        "VK_DRIVER_FILES": str(root / "usr/share/vulkan/icd.d" / driver.icd),
        "VK_LOADER_LAYERS_DISABLE": "~all~",
        "MESA_SHADER_CACHE_DISABLE": "1",
    }


def command(driver: Driver) -> list[str]:
    """The command that runs the root's Python with the driver's shim."""
    root, libraries = _root(driver), _libraries(driver)
    path = ":".join(str(libraries / part) for part in ("", "blas", "lapack"))
    python = str(max((root / "usr/bin").glob("python3.[0-9][0-9]")))
    shim = str(libraries / driver.shim) if driver.shim else ""
    if driver.machine == "x86_64":
        preload = ["--preload", shim] if shim else []
        loader = str(libraries / "ld-linux-x86-64.so.2")
        return [loader, "--library-path", path, *preload, python]
    return [
        *(str(FOLDER / "qemu-aarch64"), "-L", str(root)),
        *("-E", f"LD_LIBRARY_PATH={path}", "-E", f"LD_PRELOAD={shim}", python),
    ]


def main(drivers: Sequence[str]) -> None:
    """Starts each driver, and prints what GPU it sees."""
    for name in drivers:
        with Compiler(name) as compiler:
            print(f"{name}: {compiler.gpu.name}, {compiler.gpu.driver_info}")


if __name__ == "__main__":
    main(sys.argv[1:])
