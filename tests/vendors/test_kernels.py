"""Every kernel of real networks through the real compilers of Adreno and Mali GPUs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.null.large_networks import DIGITS, LARGE_NETWORKS
from vkbackend import vendor
from vkbackend.cli import main
from vkbackend.errors import KernelError
from vkbackend.gpu import Dot, GpuInfo, captured
from vkbackend.graph import Graph
from vkbackend.ops.base import ceil_div
from vkbackend.resolve import resolve
from vkbackend.vendor import Compiler, Kernel
from vkbackend.vendor_code import Report

pytestmark = pytest.mark.vendors

# Driver -> the capture of the same GPU, and the dot product that its hardware has.
GPUS = {
    "turnip:660": ("adreno_660", Dot.MIXED),
    "turnip:740": ("adreno_740", Dot.MIXED),
    "turnip:750": ("adreno_750", Dot.MIXED),
    "turnip:830": ("adreno_830", Dot.SIGNED),
    "panvk:G310": ("mali_g310", Dot.SIGNED),
    "panvk:G610": ("mali_g610", Dot.SIGNED),
}
INSTRUCTIONS = {
    ("turnip", Dot.MIXED): "dp4acc.mixed.low",
    ("turnip", Dot.SIGNED): "dp4acc.mixed.high",
    ("panvk", Dot.SIGNED): "IDPADD.v4s8",
}
TILED = ("conv2d_direct", "conv2d_gemm")


@dataclass(frozen=True)
class Compiled:
    """All kernels of all networks on one GPU; a text instead of a report where one failed."""

    driver: str
    gpu: GpuInfo
    reports: dict[Kernel, Report | str]

    @property
    def compiled(self) -> dict[Kernel, Report]:
        return {k: r for k, r in self.reports.items() if isinstance(r, Report)}


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {name: make() for name, make in LARGE_NETWORKS.items()}


@pytest.fixture(scope="module", params=GPUS)
def compiled(request: pytest.FixtureRequest, graphs: dict[str, Graph]) -> Iterator[Compiled]:
    """One process for all kernels of a GPU: to start it takes longest."""
    with Compiler(request.param) as compiler:
        plans = [resolve(graph, compiler.gpu) for graph in graphs.values()]
        kernels = dict.fromkeys(kernel for plan in plans for kernel in vendor.kernels_of(plan))
        reports = {kernel: compile_one(compiler, kernel) for kernel in kernels}
        yield Compiled(request.param, compiler.gpu, reports)


def compile_one(compiler: Compiler, kernel: Kernel) -> Report | str:
    try:
        return compiler.compile(kernel)
    except KernelError as error:
        return str(error)


def test_the_facts_of_the_captured_gpu_still_hold(compiled: Compiled) -> None:
    name, dot = GPUS[compiled.driver]
    then, now = captured(name), compiled.gpu
    assert (now.vendor_id, now.device_id, now.dot) == (then.vendor_id, then.device_id, dot)
    for field in (
        "dot_accelerated",
        "subgroup_size",
        "max_workgroup_invocations",
        "max_shared_memory_bytes",
        "max_storage_buffer_range_bytes",
        "storage_buffer_8bit",
    ):
        assert getattr(now, field) == getattr(then, field), field


def test_every_kernel_compiles(compiled: Compiled) -> None:
    assert [r for r in compiled.reports.values() if isinstance(r, str)] == []
    assert len(compiled.reports) > 10


def test_no_kernel_spills(compiled: Compiled) -> None:
    spilling = {
        str(kernel): f"{report.spills} spills, {report.fills} fills"
        for kernel, report in compiled.compiled.items()
        if report.spills or report.fills
    }
    assert spilling == {}


def test_inner_loops_use_the_dot_product_of_the_hardware(compiled: Compiled) -> None:
    dot = GPUS[compiled.driver][1]
    wanted = INSTRUCTIONS[compiled.driver.partition(":")[0], dot]
    tiled = {k: r for k, r in compiled.compiled.items() if k.shader.startswith(TILED)}
    assert tiled
    for kernel, report in tiled.items():
        assert kernel.shader.endswith(f".{dot.value}"), kernel
        assert set(report.dots) == {wanted}, kernel
        constants = dict(kernel.constants)
        dots = 4 * constants["TILE_PIXELS"] * constants["TILE_WORDS"]
        if kernel.shader.startswith("conv2d_direct_rows"):  # a row of taps is unrolled
            dots *= ceil_div(constants["KERNEL_WIDTH"] * constants["CHANNELS"], 4)
        assert report.loops[0].dots == dots, kernel


def test_inspect_prints_every_kernel(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["inspect", str(DIGITS), "--driver", "radv:navi31"]
    assert main([*arguments, "--code", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("radv:navi31: AMD Radeon Graphics (RADV NAVI31), Mesa ")
    matrices = [line for line in lines if line.startswith("conv2d_coopmat")]
    assert matrices
    assert all("v_wmma_i32_16x16x16_iu8" in line for line in matrices)
    assert any(line.startswith("linear_rows") and "v_dot4_i32_iu8" in line for line in lines)
    assert main([*arguments, "--json"]) == 0
    kernels = json.loads(capsys.readouterr().out)["kernels"]
    assert len(kernels) == len(list(tmp_path.iterdir()))
    assert all(kernel["instructions"] > 0 and kernel["nodes"] for kernel in kernels)


def test_a_network_compiles_on_the_driver_that_tells_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["inspect", str(DIGITS), "--driver", "lavapipe:26"]) == 0
    assert "conv2d_depthwise" in capsys.readouterr().out


def test_a_kernel_that_the_driver_refuses_is_an_error_that_says_what_is_wrong() -> None:
    with Compiler("turnip:660") as compiler:
        with pytest.raises(KernelError, match=r"^turnip:660: selftest.plain: constant .* unknown"):
            compiler.compile(Kernel("selftest.plain", (("NO_SUCH", 1),)))
        assert compiler.compile(Kernel("selftest.plain", ())).instructions


def test_float16_matrices_compile_where_there_might_be_none_of_int8() -> None:
    with Compiler("radv:navi31") as compiler:
        gpu = compiler.gpu
        shapes = tuple(m for m in gpu.cooperative_matrices if m.computes_float16)
        gpu = replace(gpu, cooperative_matrices=shapes, exact_float_matrices=shapes)
        plan = resolve(LARGE_NETWORKS["resnet50"](), gpu, force=["conv2d:coopmat"])
        kernels = [k for k in vendor.kernels_of(plan) if k.shader == "conv2d_coopmat.float16"]
        assert kernels
        for kernel in kernels:
            report = compiler.compile(kernel)
            assert not report.spills, kernel
            assert "v_wmma_f32_16x16x16_f16" in report.assembly, kernel
        names = "SUBGROUP_SIZE", "M_SIZE", "N_SIZE", "K_SIZE"
        values = gpu.subgroup_size, shapes[0].m_size, shapes[0].n_size, shapes[0].k_size
        question = Kernel("selftest_matrices", tuple(zip(names, values, strict=True)))
        assert "v_wmma_f32_16x16x16_f16" in compiler.compile(question).assembly
