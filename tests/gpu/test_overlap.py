"""Copies that overlap with kernels: chains over queues, the ring of slots, Model.map."""

from __future__ import annotations

import dataclasses
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
import pytest

from tests.gpu.conftest import missing
from tests.gpu.small_kernels import COUNT, CompileGlsl, scale
from tests.gpu.test_runtime import assert_equal, expected_of, inputs_of
from tests.null.networks import NETWORKS, residual
from vkbackend import vk
from vkbackend.device import Commands, Device, transfers
from vkbackend.engine import RING_DEPTH
from vkbackend.errors import DeviceError, InputError
from vkbackend.graph import Array, Graph
from vkbackend.runtime import Model, load


@pytest.fixture
def staged_device(device_index: int) -> Iterator[Device]:
    """Each device at hand, treated as a GPU with memory of its own: all copies are made."""
    with Device.open(device_index, staged=True) as opened:
        yield opened


@pytest.fixture(params=["as it is", "staged", "staged, by threads"])
def any_device(
    request: pytest.FixtureRequest, device_index: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Device]:
    """Each device at hand, as it is, and with copies of small and of large arrays."""
    if "threads" in request.param:
        monkeypatch.setattr(transfers, "PART_BYTES", 1)
        monkeypatch.setattr(transfers, "THREADS", 3)
    with Device.open(device_index, staged="staged" in request.param) as opened:
        yield opened


def small() -> tuple[Graph, list[list[Array]], list[dict[str, Array]]]:
    """A network, inputs and what comes of them."""
    graph = residual(depth=1, size=8)
    inputs = [inputs_of(graph, seed) for seed in range(9)]
    return graph, inputs, [expected_of(graph, arrays) for arrays in inputs]


def chain_of(
    device: Device, compile_glsl: CompileGlsl
) -> tuple[Commands, Array, Array, list[Commands]]:
    """Upload, multiplication by 7, download: the last, what goes in and comes out, the others."""
    size = 4 * COUNT
    upload, download = (device.buffer(size, access=a) for a in ("upload", "download"))
    first, second = (device.buffer(size, access="device", shared=True) for _ in range(2))
    copy_in = device.commands("upload")
    copy_in.copy(upload.region(), first.region())
    compute = device.commands(after=copy_in)
    scale(device, compute, compile_glsl, first.region(), second.region(), factor=7)
    copy_out = device.commands("download", after=compute)
    copy_out.copy(second.region(), download.region())
    links = [copy_in, compute]
    return copy_out, upload.view().view(np.int32), download.view().view(np.int32), links


# -- commands of several queues ------------------------------------------------------------------


def test_a_chain_replays_in_order(staged_device: Device, compile_glsl: CompileGlsl) -> None:
    chains = [chain_of(staged_device, compile_glsl) for _ in range(3)]
    for run in range(20):
        for number, (commands, source, _, _) in enumerate(chains):
            source[:] = np.arange(COUNT) + run * 3 + number
            commands.submit()
        for number, (commands, _, result, _) in enumerate(chains):
            commands.wait()
            np.testing.assert_array_equal(result, (np.arange(COUNT) + run * 3 + number) * 7)
    assert staged_device.live_objects()["VkSemaphore"] == 6
    del chains, commands, source, result, _
    gc.collect()
    assert "VkSemaphore" not in staged_device.live_objects()


def test_commands_that_copy_take_no_dispatch(device: Device, compile_glsl: CompileGlsl) -> None:
    region = device.buffer(4 * COUNT, access="device").region()
    with device.commands("upload") as commands, pytest.raises(DeviceError) as caught:
        scale(device, commands, compile_glsl, region, region)
    assert str(caught.value).endswith(": these commands only copy")


def test_a_chain_that_lost_a_link_is_not_submitted(
    staged_device: Device, compile_glsl: CompileGlsl
) -> None:
    commands, source, _, links = chain_of(staged_device, compile_glsl)
    source[:] = 1
    commands.run()
    links[0].close()
    with pytest.raises(DeviceError, match=r"^these commands are closed$"):
        commands.submit()


def test_a_chain_that_failed_half_way_says_so(
    staged_device: Device, compile_glsl: CompileGlsl
) -> None:
    commands, source, _, _links = chain_of(staged_device, compile_glsl)
    source[:] = 1
    commands.end()
    recorded = commands._recorded
    assert recorded is not None
    results = iter([0, vk.VK_ERROR_DEVICE_LOST])

    def failing(*arguments: Any) -> int:
        return next(results) or recorded.queue_submit(*arguments)

    commands._recorded = dataclasses.replace(recorded, queue_submit=failing)
    with pytest.raises(DeviceError, match=r"^submitting work to .*VK_ERROR_DEVICE_LOST"):
        commands.submit()
    with pytest.raises(DeviceError, match=r"^these commands failed half-way: make new ones$"):
        commands.submit()


# -- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_calls_of_all_kinds_give_the_same_bits(network: str, staged_device: Device) -> None:
    graph = NETWORKS[network]()
    inputs = [inputs_of(graph, seed) for seed in range(7)]
    expected = [expected_of(graph, arrays) for arrays in inputs]
    with load(graph, device=staged_device) as model:
        results = model.map(inputs)
        for arrays, wanted in zip(inputs, expected, strict=True):
            assert_equal(next(results), wanted)
            assert_equal(model(*arrays), wanted)  # beside those of the ring
            assert_equal(model.submit(*arrays).result(60), wanted)


def test_the_ring_is_made_once_and_is_bounded(any_device: Device) -> None:
    graph, inputs, expected = small()
    with load(graph, device=any_device) as model:
        model(*inputs[0])
        before = any_device.live_objects()
        for result, wanted in zip(model.map(inputs), expected, strict=True):
            assert_equal(result, wanted)
        live = any_device.live_objects()
        buffers_per_slot = 2 if any_device.maps_memory else 4
        new_slots = RING_DEPTH - 1 if any_device.maps_memory else RING_DEPTH
        assert live["VkBuffer"] - before["VkBuffer"] == buffers_per_slot * new_slots
        semaphores = 0 if any_device.maps_memory else 2 * RING_DEPTH
        assert live.get("VkSemaphore", 0) == semaphores
        for _ in range(20):
            list(model.map(inputs))
        assert any_device.live_objects() == live
    assert "VkSemaphore" not in any_device.live_objects()


def test_a_slow_consumer_holds_the_producer_back(any_device: Device) -> None:
    graph, inputs, expected = small()
    taken = 0

    def batches() -> Iterator[list[Array]]:
        nonlocal taken
        for arrays in inputs:
            taken += 1
            yield arrays

    with load(graph, device=any_device) as model:
        results = model.map(batches())
        assert taken == 0
        for number, wanted in enumerate(expected):
            assert_equal(next(results), wanted)
            assert taken == min(number + 1 + RING_DEPTH, len(inputs))


def test_an_array_may_be_changed_when_the_next_is_asked_for(any_device: Device) -> None:
    graph, inputs, expected = small()

    def batches() -> Iterator[Array]:
        (array,) = (x.copy() for x in inputs[0])
        for (x,) in inputs:
            array[...] = x
            yield array
            array[...] = 0

    with load(graph, device=any_device) as model:
        for result, wanted in zip(model.map(batches()), expected, strict=True):
            assert_equal(result, wanted)


def test_errors_come_after_the_results_before_them(any_device: Device) -> None:
    graph, inputs, expected = small()

    def batches() -> Iterator[list[Array]]:
        yield from inputs[:2]
        raise OSError("the disk is gone")

    wrong = [np.zeros(3, np.float32)]
    with load(graph, device=any_device) as model:
        for source, kind in ((batches(), OSError), ([*inputs[:2], wrong, inputs[2]], InputError)):
            results = model.map(source)
            assert_equal(next(results), expected[0])
            assert_equal(next(results), expected[1])
            with pytest.raises(kind):
                next(results)
            assert list(results) == []
        assert_equal(model(*inputs[3]), expected[3])
        with pytest.raises(TypeError):
            list(model.map([3]))  # type: ignore[list-item]


def test_a_call_that_fails_on_the_device_fails_in_its_turn(
    any_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, inputs, expected = small()
    real, count = Commands.wait, 0

    def failing(self: Commands, timeout_s: float | None = None) -> None:
        nonlocal count
        real(self, timeout_s)
        count += threading.current_thread().name.startswith("vkbackend")
        if count == 3:
            count += 1
            raise DeviceError("the GPU stopped")

    with load(graph, device=any_device) as model:
        monkeypatch.setattr(Commands, "wait", failing)
        results = model.map(inputs)
        assert_equal(next(results), expected[0])
        assert_equal(next(results), expected[1])
        with pytest.raises(DeviceError, match="the GPU stopped"):
            next(results)
        assert_equal(list(model.map(inputs))[-1], expected[-1])


def test_a_map_that_is_left_early_leaves_nothing(any_device: Device) -> None:
    graph, inputs, expected = small()
    with load(graph, device=any_device) as model:
        list(model.map(inputs))
        live = any_device.live_objects()
        for count in range(1, 5):
            results = model.map(inputs)
            for _ in range(count):
                next(results)
            del results
            gc.collect()
            assert not [t for t in threading.enumerate() if t.name.startswith("vkbackend-map")]
            assert not any(model._users.values())
        assert any_device.live_objects() == live
        assert_equal(model(*inputs[1]), expected[1])


def test_a_model_may_be_closed_during_map(any_device: Device) -> None:
    graph, inputs, expected = small()
    load(graph, device=any_device).close()  # pipelines stay with the device
    before = any_device.live_objects()
    model = load(graph, device=any_device)
    results = model.map(inputs)
    assert_equal(next(results), expected[0])
    model.close()
    assert any_device.live_objects() == before
    for wanted in expected[1:RING_DEPTH]:  # in flight when it was closed
        assert_equal(next(results), wanted)
    with pytest.raises(DeviceError, match="this model is closed: load it again"):
        list(results)


def test_closing_waits_for_calls_of_other_threads(any_device: Device) -> None:
    graph, inputs, expected = small()
    for _ in range(5):
        model = load(graph, device=any_device)
        begun = threading.Event()
        with ThreadPoolExecutor(1) as executor:
            calls = executor.submit(_map_long, model, inputs, expected, begun)
            assert begun.wait(60)
            model.close()
            assert str(calls.exception(60)) == "this model is closed: load it again"


def _map_long(
    model: Model, inputs: list[list[Array]], expected: list[dict[str, Array]], begun: Event
) -> None:
    for result, wanted in zip(model.map(inputs * 500), expected * 500, strict=True):
        assert_equal(result, wanted)
        begun.set()


def test_the_validation_layer_is_silent_about_chains(device_index: int) -> None:
    try:
        device = Device.open(device_index, validation=True, staged=True)
    except DeviceError as error:
        if "not installed" not in str(error):
            raise
        missing(str(error))
    with device:
        for network in NETWORKS.values():
            graph = network()
            inputs = [inputs_of(graph, seed) for seed in range(5)]
            with load(graph, device=device) as model:
                for result, arrays in zip(model.map(inputs), inputs, strict=True):
                    assert_equal(result, expected_of(graph, arrays))
                model(*inputs[0])


# -- copies in parts -----------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_large_array_is_copied_in_parts(
    device: Device, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "THREADS", threads)
    monkeypatch.setattr(transfers, "PART_BYTES", 64)
    x = np.random.default_rng(0).integers(-128, 128, (3, 5, 7, 11), np.int8)
    turned = np.moveaxis(x, 1, -1)
    for source in (x, turned, turned[:1], x.reshape(-1)[::2], np.float32(x), x[:0], x[0, 0, 0, 0]):
        target = np.full(source.shape, 77, source.dtype)
        device.copy(target, source)
        np.testing.assert_array_equal(target, source)
    with device.buffer(x.nbytes, access="upload") as buffer:
        device.write(buffer, turned)
        np.testing.assert_array_equal(device.read(buffer, x.nbytes).view(np.int8), turned.ravel())
