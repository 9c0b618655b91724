"""Model: plans of other GPUs, calls from threads, futures, errors, leaks."""

from __future__ import annotations

import dataclasses
import gc
import resource
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.null.networks import NETWORKS, conflict, residual
from vkbackend import fileformat, reference
from vkbackend.device import Device, Pipeline
from vkbackend.errors import DeviceError, InputError, KernelError
from vkbackend.graph import Array, Graph
from vkbackend.plan import Value
from vkbackend.runtime import Model, load
from vkbackend.shaders import Module
from vkbackend.signature import Signature, to_host


def inputs_of(graph: Graph, seed: int = 0) -> list[Array]:
    """Random inputs as the host gives them."""
    rng = np.random.default_rng(seed)
    arrays = []
    for port in Signature.of(graph).inputs.values():
        if port.dtype == "float32":
            arrays.append(rng.normal(scale=2, size=port.shape).astype(np.float32))
        else:
            low, high = (0, 256) if port.dtype == "uint8" else (-128, 128)
            arrays.append(rng.integers(low, high, port.shape).astype(port.dtype))
    return arrays


def expected_of(graph: Graph, arrays: list[Array]) -> dict[str, Array]:
    """The reference's outputs as the host gets them."""
    logical = [
        np.moveaxis(array, -1, 1) if graph.host_layout(name) == "NHWC" else array
        for name, array in zip(graph.inputs, arrays, strict=True)
    ]
    values = reference.run(graph, logical)
    return {name: to_host(values[name], graph.host_layout(name)) for name in graph.outputs}


def assert_equal(result: Any, expected: Mapping[str, Array]) -> None:
    found = result if isinstance(result, dict) else dict(zip(expected, [result], strict=True))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("policy", ["auto", "executorch"])
@pytest.mark.parametrize("gpu", [None, "mali_g610", "adreno_660", "adreno_750", "nvidia_h200"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_gpus_plan_gives_the_same_bits_here(
    network: str, gpu: str | None, policy: str, device: Device
) -> None:
    graph = NETWORKS[network]()
    arrays = inputs_of(graph)
    with load(graph, device=device, gpu=gpu, policy=policy) as model:
        for _ in range(2):
            assert_equal(model(*arrays), expected_of(graph, arrays))


def test_every_tensor_can_be_read_where_all_are_kept(device: Device) -> None:
    graph = residual()
    (x,) = inputs_of(graph)
    values = reference.run(graph, [x])
    with load(graph, device=device, keep_all=True) as model:
        model(x)
        outside = {*model.plan.inputs, *model.plan.outputs}
        for step in model.plan.steps:
            for value in step.outputs:
                if value not in outside:
                    np.testing.assert_array_equal(model.read(value), values[value.tensor])


def test_inputs_go_by_position_or_name(device: Device) -> None:
    graph = conflict()
    (x,) = inputs_of(graph)
    with load(graph, device=device) as model:
        assert_equal(model(x=x), expected_of(graph, [x]))
        for arrays, named, message in (
            ((), {}, "input 'x' is missing: takes x: uint8[1, 12, 12, 32] NHWC"),
            ((x, x), {}, "takes 1 inputs (x: uint8[1, 12, 12, 32] NHWC), got 2"),
            ((x,), {"x": x}, "input 'x' is given twice"),
            ((), {"y": x}, "has no input 'y': takes x: uint8[1, 12, 12, 32] NHWC"),
            (
                (x.astype(np.int8),),
                {},
                "input 'x' is uint8[1, 12, 12, 32] NHWC, got int8[1, 12, 12, 32]",
            ),
            (
                (x.transpose(0, 3, 1, 2),),
                {},
                "the network takes x: uint8[1, 12, 12, 32] NHWC, and cannot take "
                "uint8[1, 32, 12, 12]: conv2d 'stem': weight [32, 32, 3, 3] in 1 groups does not "
                "fit 12 input channels",
            ),
            (
                ([1],),
                {},
                "input 'x' is uint8[1, 12, 12, 32] NHWC, got list: use a NumPy array",
            ),
        ):
            with pytest.raises(InputError) as caught:
                model(*arrays, **named)
            assert str(caught.value) == message


def test_other_shapes_make_other_plans_with_the_same_weights(device: Device) -> None:
    graph = residual(depth=1, size=8)
    with load(graph, device=device) as model:
        memory = model.device_memory_bytes
        live = device.live_objects()
        for batch, height, width in ((3, 8, 8), (1, 11, 9), (2, 16, 5), (5, 7, 7), (3, 8, 8)):
            other = graph.with_shapes({"x": (batch, 3, height, width)})
            (x,) = inputs_of(other)
            assert_equal(model(x), expected_of(other, [x]))
            assert_equal(model.submit(x).result(60), expected_of(other, [x]))
        arenas = sum(engine.plan.arena_size_bytes for engine in model._engines.values())
        assert model.device_memory_bytes < memory + arenas + 4096
        assert len(model._engines) == 4
        with pytest.raises(InputError, match="cannot take float32"):
            model(np.zeros((1, 4, 8, 8), np.float32))
        assert device.live_objects()["VkDeviceMemory"] <= 8 * live["VkDeviceMemory"]


def test_a_batch_beyond_the_devices_limits_is_split(device: Device) -> None:
    graph = residual(depth=1, size=16).with_shapes({"x": (6, 3, 16, 16)})
    small = dataclasses.replace(device.info, max_storage_buffer_range_bytes=40_000)
    (x,) = inputs_of(graph)
    with load(graph, device=device, gpu=small) as model:
        steps = {s.node.name: s.choice.candidate.image_step for s in model.plan.steps}
        assert steps["stem"] == 3
        assert_equal(model(x), expected_of(graph, [x]))


def test_calls_from_threads_and_futures_do_not_mix(device: Device) -> None:
    graph = residual(depth=1, size=8)
    inputs = [inputs_of(graph, seed) for seed in range(6)]
    expected = [expected_of(graph, arrays) for arrays in inputs]
    problems: list[BaseException] = []
    with load(graph, device=device) as model:

        def work(index: int) -> None:
            try:
                for _ in range(5):
                    assert_equal(model(*inputs[index]), expected[index])
                    assert_equal(model.submit(*inputs[index]).result(30), expected[index])
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        futures = []
        for arrays in inputs:
            changed = [array.copy() for array in arrays]
            futures.append(model.submit(*changed))
            for array in changed:
                array[...] = 0  # submit has copied it
        for future, wanted in zip(futures, expected, strict=True):
            assert_equal(future.result(30), wanted)
    assert not problems


def test_map_keeps_the_order_and_takes_few_inputs_ahead(device: Device) -> None:
    graph = residual(depth=1)
    inputs = [inputs_of(graph, seed) for seed in range(7)]
    taken = 0

    def batches() -> Iterator[list[Array]]:
        nonlocal taken
        for arrays in inputs:
            taken += 1
            yield arrays

    with load(graph, device=device) as model:
        results = model.map(batches())
        assert_equal(next(results), expected_of(graph, inputs[0]))
        assert taken == 4
        for result, arrays in zip(results, inputs[1:], strict=True):
            assert_equal(result, expected_of(graph, arrays))
        broken = model.map([inputs[0], [np.zeros(3, np.float32)]])
        with pytest.raises(InputError):
            list(broken)


def test_a_thousand_calls_take_no_memory(device: Device) -> None:
    graph = residual(depth=1, size=8)
    (x,) = inputs_of(graph)
    with load(graph, device=device) as model:
        for _ in range(50):
            model(x)
        live = device.live_objects()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(1000):
            model(x)
        assert device.live_objects() == live
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2048  # KiB


def test_a_model_frees_what_it_made(device: Device) -> None:
    graph = residual()
    (x,) = inputs_of(graph)
    load(graph, device=device).close()  # pipelines stay with the device
    before = device.live_objects()
    with load(graph, device=device) as model:
        model(x)
        model.submit(x).result(30)
        model.profile([x], runs=2)
    model.close()
    assert device.live_objects() == before
    model = load(graph, device=device)
    model(x)
    del model
    gc.collect()
    assert device.live_objects() == before
    with pytest.raises(InputError):
        load(graph, device=device).read(Value("gone", "4C"))
    gc.collect()
    assert device.live_objects() == before


def test_a_closed_model_says_so(device: Device) -> None:
    graph = residual(depth=1, size=8)
    (x,) = inputs_of(graph)
    model = load(graph, device=device)
    model.close()
    for call in (model, model.submit):
        with pytest.raises(DeviceError, match="this model is closed: load it again"):
            call(x)


def test_a_file_loads_on_a_device_of_its_own(tmp_path: Path, device_index: int) -> None:
    graph = residual(depth=1, size=8)
    (x,) = inputs_of(graph)
    fileformat.save(graph, tmp_path / "net.vkb")
    with load(tmp_path / "net.vkb", device=device_index) as model:
        assert_equal(model(x), expected_of(graph, [x]))
        opened = model.device
    assert opened.live_objects() == {}


def test_the_validation_layer_is_silent(validated_device: Device) -> None:
    for network in NETWORKS.values():
        graph = network()
        arrays = inputs_of(graph)
        with load(graph, device=validated_device, force="conv2d:*") as model:
            assert_equal(model(*arrays), expected_of(graph, arrays))
            model.profile(arrays, runs=2)
            model.submit(*arrays).result(60)


def test_a_kernel_that_does_not_compile_is_replaced(
    own_device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Device.pipeline

    def failing(self: Device, module: Module, constants: Any, **more: Any) -> Pipeline:
        if module.name.startswith("conv2d_direct"):
            raise DeviceError("ErrorUnknown")
        return real(self, module, constants, **more)

    monkeypatch.setattr(Device, "pipeline", failing)
    graph = residual(depth=1, size=8)
    (x,) = inputs_of(graph)
    with pytest.warns(RuntimeWarning, match="does not compile here.*taking the next best"):
        model: Model = load(graph, device=own_device, gpu="adreno_750")
    with model:
        assert_equal(model(x), expected_of(graph, [x]))
        assert "direct" not in model.plan.choices()
    with pytest.raises(KernelError, match="conv2d 'stem': direct does not compile here"):
        load(graph, device=own_device, force="stem:direct")
