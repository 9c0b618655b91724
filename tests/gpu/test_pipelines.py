"""Pipelines on every device at hand: names, limits, the cache on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.small_kernels import CONSTANTS, SCALE, CompileGlsl
from vkbackend.device import Device
from vkbackend.errors import DeviceError, ShaderError


@pytest.mark.parametrize(
    ("constants", "expected"),
    [
        ({}, [-7, 4_000_000_000, np.float32(0.5), 1, 8]),
        ({"SIGNED": 2**31 - 1, "FLAG": False}, [2**31 - 1, 4_000_000_000, np.float32(0.5), 0, 8]),
        ({"FLOAT": 0.1, "UNSIGNED": 5, "WIDTH": 16}, [-7, 5, np.float32(0.1), 1, 16]),
        (
            {"SIGNED": np.int64(3), "FLOAT": np.float32(2.5)},
            [3, 4_000_000_000, np.float32(2.5), 1, 8],
        ),
    ],
)
def test_constants_and_push_constants_go_by_name(
    device: Device,
    compile_glsl: CompileGlsl,
    constants: dict[str, int | float | bool],
    expected: list[int | np.float32],
) -> None:
    pipeline = device.pipeline(compile_glsl(CONSTANTS), constants)
    assert device.pipeline(compile_glsl(CONSTANTS), dict(reversed(constants.items()))) is pipeline
    words = [
        int(value.view(np.uint32)) if isinstance(value, np.float32) else value % 2**32
        for value in [*expected, -1, 2, np.float32(0.25)]
    ]
    with device.buffer(64, access="device") as buffer, device.commands() as commands:
        push = {"pair": (-1, 2), "scale": 0.25}
        commands.dispatch(pipeline, {"Results": buffer.region()}, push, (1, 1, 1))
        commands.run()
        assert device.read(buffer, 32).view(np.uint32).tolist() == words


def test_wrong_names_and_values(device: Device, compile_glsl: CompileGlsl) -> None:
    module = compile_glsl(CONSTANTS)
    pipeline = device.pipeline(module, {})
    with pytest.raises(ShaderError) as caught:
        device.pipeline(module, {"SIZE": 4, "FLAG": True})
    assert str(caught.value) == (
        f"{module.name}: constant 'SIZE' is unknown; it has: SIGNED, UNSIGNED, FLOAT, FLAG, WIDTH"
    )
    with pytest.raises(ShaderError, match=r"constant 'UNSIGNED' takes uint, got -1"):
        device.pipeline(module, {"UNSIGNED": -1})
    with pytest.raises(ShaderError, match=r"constant 'SIGNED' takes int, got 0.5"):
        device.pipeline(module, {"SIGNED": 0.5})
    with pytest.raises(ShaderError) as caught:
        pipeline.pack_push_constants({"pair": (1, 2), "scales": 1})
    assert str(caught.value) == (
        f"{module.name}: push constant 'scales' is unknown, 'scale' is missing; it has: pair, scale"
    )
    with pytest.raises(ShaderError, match=r"'pair' takes 2 values of type int, got 1"):
        pipeline.pack_push_constants({"pair": 1, "scale": 1})


def test_a_module_that_the_device_cannot_run(device: Device, compile_glsl: CompileGlsl) -> None:
    module, info = compile_glsl(CONSTANTS), device.info
    most = info.max_workgroup_invocations
    with pytest.raises(DeviceError) as caught:
        device.pipeline(module, {"WIDTH": 2 * most})
    assert str(caught.value) == (
        f"{module.name} cannot run on {info.name}: it has a workgroup of ({2 * most}, 1, 1) = "
        f"{2 * most} invocations, and the device takes at most {most}, {info.max_workgroup_size} "
        "per axis"
    )
    interface = replace(module.interface, capabilities=("Float64", "Int64"))
    with pytest.raises(DeviceError) as caught:
        device.pipeline(replace(module, interface=interface, digest="other"), {})
    assert str(caught.value) == (
        f"{module.name} cannot run on {info.name}: it needs the capability Float64, which the "
        "device does not offer; it needs the capability Int64, which the device does not offer"
    )
    with pytest.raises(DeviceError, match="it needs subgroups of 4096, and the device has"):
        device.pipeline(module, {}, subgroup_size=4096)


def test_a_subgroup_size_can_be_asked_for(device: Device, compile_glsl: CompileGlsl) -> None:
    size = device.info.max_subgroup_size
    pipeline = device.pipeline(compile_glsl(CONSTANTS), {"WIDTH": size}, subgroup_size=size)
    assert pipeline is not device.pipeline(compile_glsl(CONSTANTS), {"WIDTH": size})


def test_pipelines_are_kept_on_disk(
    device_index: int, compile_glsl: CompileGlsl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VKBACKEND_CACHE_DIR", str(tmp_path / "cache"))
    with Device.open(device_index) as device:
        device.pipeline(compile_glsl(SCALE), {})
    (path,) = (tmp_path / "cache" / "pipelines").iterdir()
    assert path.name.startswith(device.identity)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b"rubbish"):
        path.write_bytes(damaged)
        with Device.open(device_index) as device:
            device.pipeline(compile_glsl(SCALE), {})
        assert len(path.read_bytes()) == len(whole)
    monkeypatch.setenv("VKBACKEND_CACHE_DIR", "/dev/null/nowhere")
    with Device.open(device_index) as device:
        device.pipeline(compile_glsl(SCALE), {})
