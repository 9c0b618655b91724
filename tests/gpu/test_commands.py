"""Recorded commands on every device at hand: barriers, times, errors, threads."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.gpu.small_kernels import COUNT, IN_PLACE, SCALE, SLOW, CompileGlsl, ints, scale
from vkbackend.device import Device
from vkbackend.errors import DeviceError, InputError, ShaderError


def test_a_chain_of_dispatches_waits_for_its_data(
    device: Device, compile_glsl: CompileGlsl
) -> None:
    with (
        device.buffer(4 * COUNT, access="device") as first,
        device.buffer(4 * COUNT, access="device") as second,
        device.commands() as commands,
    ):
        device.write(first, np.arange(COUNT, dtype=np.int32))
        for addend in range(1, 51):  # there and back again: RAW and WAR at every step
            scale(device, commands, compile_glsl, first.region(), second.region(), addend)
            scale(device, commands, compile_glsl, second.region(), first.region(), addend)
        commands.end()
        assert commands.barrier_count == 99
        for run in range(1, 4):
            commands.run()
            expected = (np.arange(COUNT) + run * 2 * sum(range(1, 51))).tolist()
            assert ints(device, first.region()) == expected


def test_in_place_and_copies_wait_too(device: Device, compile_glsl: CompileGlsl) -> None:
    pipeline = device.pipeline(compile_glsl(IN_PLACE), {})
    size = 64 * 4
    with device.buffer(4 * size, access="device") as buffer, device.commands() as commands:
        device.write(buffer, np.arange(256, dtype=np.int32))
        first = buffer.region(0, size)
        for part in range(4):
            for _ in range(part):
                commands.dispatch(pipeline, {"Values": first}, {}, (1, 1, 1))
            if part:
                commands.copy(first, buffer.region(part * size, size))
        commands.run()
        expected, value = np.zeros((4, 64), np.int64), np.arange(64)
        for part in range(4):
            for _ in range(part):
                value = value * 3 + 1
            expected[part] = value
        expected[0] = value
        assert ints(device, buffer.region()) == expected.ravel().tolist()


def test_independent_dispatches_have_no_barrier(device: Device, compile_glsl: CompileGlsl) -> None:
    with device.buffer(8 * 1024, access="device") as buffer, device.commands() as commands:
        device.write(buffer, np.arange(2048, dtype=np.int32))
        source = buffer.region(0, 1024)
        for part in range(1, 8):
            target = buffer.region(part * 1024, 1024)
            scale(device, commands, compile_glsl, source, target, addend=part)
        commands.end()
        assert commands.barrier_count == 0
        commands.run()
        expected = np.arange(256) + np.arange(8)[:, None]
        assert ints(device, buffer.region()) == expected.ravel().tolist()


def test_timestamps(device: Device, compile_glsl: CompileGlsl) -> None:
    with device.buffer(4 * COUNT, access="device") as buffer, device.commands() as commands:
        assert commands.timestamp() == 0
        for index in range(1, 4):
            half = buffer.region(2048, 1024)
            scale(device, commands, compile_glsl, buffer.region(0, 1024), half)
            assert commands.timestamp() == index
        with pytest.raises(DeviceError, match="these commands have no times yet: run them first"):
            commands.timestamps_us()
        commands.run()
        times = commands.timestamps_us()
        if not device.info.timestamp_valid_bits or not device.info.timestamp_period_ns:
            assert times is None
            return
        assert times is not None
        assert times[0] == 0
        assert times == sorted(times)
        assert times[3] < 1e7


def test_a_device_without_timestamps(own_device: Device, compile_glsl: CompileGlsl) -> None:
    own_device._context.info = replace(own_device.info, timestamp_valid_bits=0)
    with own_device.commands() as commands:
        commands.timestamp()
        commands.run()
        assert commands.timestamps_us() is None


def test_command_errors(device: Device, compile_glsl: CompileGlsl) -> None:
    info = device.info
    module = compile_glsl(SCALE)
    pipeline = device.pipeline(module, {})
    push = {"addend": 0, "count": 1}
    with device.buffer(4096, access="device") as buffer, device.commands() as commands:
        region = buffer.region()
        both = {"Values": region, "Results": region}
        with pytest.raises(ShaderError) as caught:
            commands.dispatch(pipeline, {"Values": region, "Result": region}, push, (1, 1, 1))
        assert str(caught.value) == (
            f"{module.name}: buffer 'Result' is unknown, 'Results' is missing; "
            "it has: Values, Results"
        )
        limits = info.max_workgroup_count
        with pytest.raises(DeviceError) as caught:
            commands.dispatch(pipeline, both, push, (1, limits[1] + 1, 1))
        assert str(caught.value) == (
            f"{module.name}: (1, {limits[1] + 1}, 1) workgroups, and {info.name} takes 1 to "
            f"{limits} per axis"
        )
        with pytest.raises(DeviceError, match=r"workgroups, and .* takes 1 to"):
            commands.dispatch(pipeline, both, push, (0, 1, 1))
        bindings = {"Values": region, "Results": buffer.region(2)}
        with pytest.raises(DeviceError) as caught:
            commands.dispatch(pipeline, bindings, push, (1, 1, 1))
        assert str(caught.value) == (
            f"{module.name}: buffer 'Results' begins at byte 2, and {info.name} needs a multiple "
            f"of {info.min_storage_buffer_offset_alignment_bytes}"
        )
        with pytest.raises(InputError, match="a copy of 8 bytes into a region of 16"):
            commands.copy(buffer.region(0, 8), buffer.region(8, 16))
        with pytest.raises(InputError, match="a copy between overlapping regions of the device"):
            commands.copy(buffer.region(0, 8), buffer.region(4, 8))
        other = Device.open(info.name)
        foreign = other.buffer(64, access="device").region()
        with pytest.raises(DeviceError, match="a copy: the device buffer of 64 bytes belongs to"):
            commands.copy(buffer.region(0, 64), foreign)
        other.close()
        commands.dispatch(pipeline, both, push, (1, 1, 1))
        commands.run()
        with pytest.raises(DeviceError, match="these commands are recorded and take no more"):
            commands.timestamp()
        commands.submit()
        with pytest.raises(DeviceError, match="these commands are already running: wait for"):
            commands.submit()
        commands.wait()
        buffer.close()
        with pytest.raises(DeviceError, match="device buffer of 4096 bytes is closed"):
            commands.submit()
    with pytest.raises(DeviceError, match="these commands are closed"):
        commands.submit()


def test_a_range_that_shaders_cannot_see(own_device: Device, compile_glsl: CompileGlsl) -> None:
    own_device._context.info = replace(own_device.info, max_storage_buffer_range_bytes=1024)
    pipeline = own_device.pipeline(compile_glsl(IN_PLACE), {})
    buffer = own_device.buffer(2048, access="device")
    with pytest.raises(DeviceError) as caught:
        own_device.commands().dispatch(pipeline, {"Values": buffer.region()}, {}, (1, 1, 1))
    assert str(caught.value) == (
        f"{pipeline.name}: buffer 'Values' has 2048 bytes, and a shader on {own_device.info.name} "
        "sees at most 1024 at once"
    )


def test_a_wait_that_takes_too_long(device: Device, compile_glsl: CompileGlsl) -> None:
    pipeline = device.pipeline(compile_glsl(SLOW), {})
    with device.buffer(64, access="device") as buffer, device.commands() as commands:
        bindings = {"Values": buffer.region()}
        # lavapipe leaves a loop after 65,535 rounds: many workgroups it is.
        commands.dispatch(pipeline, bindings, {"rounds": 60_000}, (1000, 1, 1))
        commands.submit()
        with pytest.raises(DeviceError) as caught:
            commands.wait(0.001)
        assert str(caught.value) == f"{device.info.name} is not done after 0.001 s"
        buffer.close()  # waits for the work that uses it
        commands.wait(60.0)
    device.commands().run()


def test_several_threads(device: Device, compile_glsl: CompileGlsl) -> None:
    errors: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            with (
                device.buffer(4 * COUNT, access="device") as source,
                device.buffer(4 * COUNT, access="device") as target,
                device.commands() as commands,
            ):
                data = np.arange(COUNT, dtype=np.int32) * seed
                device.write(source, data)
                scale(device, commands, compile_glsl, source.region(), target.region(), seed)
                for _ in range(100):
                    commands.run()
                assert ints(device, target.region()) == (data + seed).tolist()
        except BaseException as error:
            errors.append(error)

    compile_glsl(SCALE)
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
