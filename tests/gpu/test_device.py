"""Memory, lifetimes, choosing and validation on every device at hand."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

from tests.gpu.small_kernels import CONSTANTS, COUNT, IN_PLACE, CompileGlsl, scale, use_everything
from vkbackend import vk
from vkbackend.device import Device, list_devices, recording, transfers
from vkbackend.device.memory_types import BufferAccess
from vkbackend.errors import DeviceError, InputError, ValidationError


@pytest.mark.parametrize(
    ("access", "staged"),
    [("device", False), ("device", True), ("upload", False), ("download", False)],
)
@pytest.mark.parametrize("size_bytes", [1, 3, 4099, 300_007])
def test_what_is_written_is_read(
    device: Device,
    access: BufferAccess,
    staged: bool,
    size_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transfers, "STAGING_BYTES", 1 << 17)  # the largest takes three pieces
    data = np.random.default_rng(size_bytes).integers(0, 256, size_bytes, np.uint8)
    with device.buffer(size_bytes, access=access, staged=staged) as buffer:
        assert buffer.is_mapped is not (staged or (access == "device" and not _maps(device)))
        device.write(buffer, data)
        assert np.array_equal(device.read(buffer, size_bytes), data)
        middle = data[: size_bytes // 3][::-1]
        device.write(buffer, middle, offset_bytes=size_bytes // 2)
        data[size_bytes // 2 : size_bytes // 2 + middle.size] = middle.copy()
        assert np.array_equal(device.read(buffer, size_bytes), data)
        tail = device.read(buffer, size_bytes - size_bytes // 2, size_bytes // 2)
        assert np.array_equal(tail, data[size_bytes // 2 :])


def _maps(device: Device) -> bool:
    return device.info.unified_memory or device.info.device_type in ("integrated", "cpu")


@pytest.mark.parametrize("data", [b"\1\2\3\4", np.float32(1.5), np.zeros((2, 0), np.int8)])
def test_anything_with_bytes_can_be_written(device: Device, data: object) -> None:
    expected = np.asarray(bytearray(data) if isinstance(data, bytes) else data).tobytes()
    with device.buffer(16, access="device", staged=True) as buffer:
        device.write(buffer, np.zeros(16, np.uint8))
        device.write(buffer, data, 4)
        content = device.read(buffer, 16).tobytes()
        assert content == b"\0" * 4 + expected.ljust(12, b"\0")


def test_a_view_is_the_memory_itself_and_keeps_it(
    device: Device, compile_glsl: CompileGlsl
) -> None:
    upload = device.buffer(4 * COUNT, access="upload")
    download = device.buffer(4 * COUNT, access="download")
    view = upload.view().view(np.int32)
    view[:] = np.arange(COUNT)
    upload.flush()
    with device.commands() as commands:
        scale(device, commands, compile_glsl, upload.region(), download.region(), factor=5)
        commands.run()
    download.invalidate()
    result = download.view().view(np.int32)
    del upload, download, commands
    gc.collect()
    assert np.array_equal(result, np.arange(COUNT) * 5)
    assert np.array_equal(view, np.arange(COUNT))


def test_buffer_errors(device: Device) -> None:
    limit, name = device.info.max_memory_allocation_bytes, device.info.name
    with pytest.raises(DeviceError) as caught:
        device.buffer(limit + 1, access="device")
    assert str(caught.value) == (
        f"a buffer of {limit + 1} bytes was asked for, but {name} allocates at most {limit} bytes "
        "at once: use a smaller network or batch, or several buffers"
    )
    with pytest.raises(InputError, match="a buffer needs at least one byte, not 0"):
        device.buffer(0, access="device")
    with device.buffer(64, access="device", staged=True) as buffer:
        with pytest.raises(DeviceError, match=r"^device buffer of 64 bytes is not mapped: use dev"):
            buffer.view()
        with pytest.raises(InputError, match=r"^bytes 60 to 68 are not inside the device buffer"):
            device.write(buffer, b"12345678", 60)
        with pytest.raises(InputError, match=r"^bytes -4 to 64 are not inside"):
            buffer.region(-4)
    buffer.close()
    with pytest.raises(DeviceError, match=r"^device buffer of 64 bytes is closed$"):
        device.read(buffer, 4)


def test_everything_is_freed(own_device: Device, compile_glsl: CompileGlsl) -> None:
    use_everything(own_device, compile_glsl)
    before = own_device.live_objects()
    for _ in range(3):
        use_everything(own_device, compile_glsl)
    assert own_device.live_objects() == before
    buffer, commands = own_device.buffer(64, access="upload"), own_device.commands()
    commands.copy(buffer.region(0, 8), buffer.region(8, 8))
    commands.submit()
    assert own_device.live_objects() != before
    del buffer, commands  # while it may still run
    gc.collect()
    assert own_device.live_objects() == before
    with pytest.raises(InputError):
        own_device.commands().copy(own_device.buffer(4, access="device").region(0, 8), None)
    gc.collect()
    assert own_device.live_objects() == before
    own_device.close()
    own_device.close()
    assert own_device.live_objects() == {}
    with pytest.raises(DeviceError, match="the device is closed: open it again"):
        own_device.buffer(4, access="device")


def test_a_device_is_closed_when_nothing_uses_it(
    device_index: int, compile_glsl: CompileGlsl
) -> None:
    device = Device.open(device_index)
    buffer = device.buffer(64, access="device")
    lifetimes = device._context.lifetimes
    del device
    gc.collect()
    assert not lifetimes.is_closed  # the buffer needs it
    assert buffer.region().size_bytes == 64
    del buffer
    gc.collect()
    assert lifetimes.is_closed
    assert lifetimes.objects == {}


def test_a_thousand_runs_leave_nothing(own_device: Device, compile_glsl: CompileGlsl) -> None:
    buffer = own_device.buffer(256, access="device")
    pipeline = own_device.pipeline(compile_glsl(IN_PLACE), {})
    commands = own_device.commands()
    commands.dispatch(pipeline, {"Values": buffer.region()}, {}, (1, 1, 1))
    commands.run()
    gc.collect()
    live, kept, objects = own_device.live_objects(), len(vk._owned), len(gc.get_objects())
    for _ in range(1000):
        commands.run()
    gc.collect()
    assert own_device.live_objects() == live
    assert len(vk._owned) == kept
    assert len(gc.get_objects()) < objects + 100


def test_a_wrong_name_lists_all_devices(device_index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VKBACKEND_DEVICE", "no such thing")
    with pytest.raises(DeviceError) as caught:
        Device.open()
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "no usable Vulkan device 'no such thing' (from VKBACKEND_DEVICE); passed over:"
    )
    for index, (info, line) in enumerate(zip(list_devices(), lines[1:-1], strict=True)):
        assert line.startswith(f"  {index}: {info.name} ({info.device_type}, Vulkan ")
        assert line.endswith("): its name does not contain 'no such thing'")


def test_an_old_device_works_by_extensions(
    device_index: int, compile_glsl: CompileGlsl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vk, "API_VERSION", (1 << 22) | (1 << 12))
    monkeypatch.setattr(vk, "version", lambda packed: (1, 1, 0))
    with Device.open(device_index) as device:
        use_everything(device, compile_glsl)
        old = device.info
    monkeypatch.undo()
    assert old == replace(list_devices()[device_index], api_version=(1, 1, 0))


def test_a_device_that_is_too_old(device_index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vk, "version", lambda packed: (1, 0, 0))
    assert not list_devices()[device_index].dot_product
    with pytest.raises(DeviceError, match=r"it is older than Vulkan 1.1"):
        Device.open(device_index)


def test_validation_is_silent(validated_device: Device, compile_glsl: CompileGlsl) -> None:
    use_everything(validated_device, compile_glsl)
    size = validated_device.info.max_subgroup_size
    validated_device.pipeline(compile_glsl(CONSTANTS), {"WIDTH": size}, subgroup_size=size)
    validated_device.close()


def test_memory_that_is_not_coherent(validated_device: Device) -> None:
    # No device at hand has such memory; the same calls are legal on any.
    with validated_device.buffer(1000, access="download") as buffer:
        buffer._is_coherent = False
        validated_device.write(buffer, b"abc", offset_bytes=200)
        assert validated_device.read(buffer, 3, offset_bytes=200).tobytes() == b"abc"
        buffer.flush()
        buffer.invalidate(999)


def test_validation_sees_a_missing_barrier(
    validated_device: Device, compile_glsl: CompileGlsl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording.HazardTracker, "step", lambda *_: False)
    with pytest.raises(ValidationError, match=r"(?s)^the Vulkan validation layer.*SYNC-HAZARD"):
        use_everything(validated_device, compile_glsl)
