"""Files that ExecuTorch exported, on every device: the bits of its delegate."""

from __future__ import annotations

import numpy as np
import pytest

from tests import executorch_exports as exports
from tests.executorch_builder import Delegate, Number
from vkbackend import reference
from vkbackend.device import Device
from vkbackend.frontends.executorch import from_executorch
from vkbackend.gpu import Family
from vkbackend.graph import Array, Graph, Quantization
from vkbackend.plan import Value
from vkbackend.runtime import Model, load


def kept(model: Model) -> dict[str, Array]:
    """Every tensor of the last call that lies in the arena."""
    outside = {*model.plan.inputs, *model.plan.outputs}
    values: dict[str, Value] = {
        value.tensor: value
        for step in model.plan.steps
        for value in step.outputs
        if value not in outside
    }
    return {tensor: model.read(value) for tensor, value in values.items()}


@pytest.mark.parametrize("policy", ["auto", "executorch"])
@pytest.mark.parametrize("name", exports.NAMES)
def test_outputs_are_equal_in_every_bit(name: str, policy: str, device: Device) -> None:
    if name == "mobilenetv2_relu" and device.info.family is Family.SWIFTSHADER:
        pytest.skip("takes minutes on SwiftShader")
    expected = exports.arrays(name, "delegate_ref")["out0"]
    with load(exports.network(name), device=device, policy=policy) as model:
        for _ in range(2):
            np.testing.assert_array_equal(model(*exports.inputs(name)), expected)


@pytest.mark.parametrize("gpu", exports.GPUS.values())
@pytest.mark.parametrize("name", exports.SMALL)
def test_every_int8_tensor_is_equal_in_another_gpus_plan(
    name: str, gpu: str, device: Device
) -> None:
    expected = exports.arrays(name, "delegate_ref")
    with load(exports.network(name), device=device, gpu=gpu, keep_all=True) as model:
        model(*exports.inputs(name))
        found = {
            tensor: array
            for tensor, array in kept(model).items()
            if tensor in expected and expected[tensor].dtype == np.int8
        }
        assert found
        for tensor, array in found.items():
            np.testing.assert_array_equal(array, expected[tensor], err_msg=tensor)


X, Y, UNIT = Quantization(0.043, 9), Quantization(0.027, -21), Quantization(1 / 256, -128)
SHAPE, POOLED = (2, 12, 9, 7), (2, 12, 1, 1)


def squeeze_and_excite() -> Graph:
    """Hard-swish, a gate of its mean by two convolutions, softmax and the mean as outputs."""
    rng = np.random.default_rng(0)
    delegate = Delegate()

    def function(op: str, *arguments: object, shape: tuple[int, ...]) -> Number:
        return delegate.call(f"aten.{op}", *arguments, out=delegate.tensor(shape, "float32"))

    def convolution(x: Number, types: tuple[Quantization, Quantization], **fields: str) -> Number:
        weight = rng.integers(-127, 128, (12, 12, 1, 1)).astype(np.int8)
        scales = rng.uniform(0.001, 0.01, 12).astype(np.float32)
        bias = rng.normal(size=12).astype(np.float32)
        return delegate.conv2d(x, types, weight, scales, bias, POOLED, **fields)

    source = delegate.quantize(delegate.input(SHAPE), SHAPE, X)
    swish = function("hardswish.default", delegate.dequantize(source, SHAPE, X), shape=SHAPE)
    mean = function("mean.dim", swish, [-1, -2], True, None, shape=POOLED)
    gate = delegate.quantize(mean, POOLED, Y)
    gate = convolution(gate, (Y, X), activation="relu", op="q8ta_conv2d_pw")
    gate = convolution(gate, (X, Y), op="q8ta_conv2d_pw")
    gate = function("sigmoid.default", delegate.dequantize(gate, POOLED, Y), shape=POOLED)
    gated = function("mul.Tensor", swish, gate, shape=SHAPE)
    inner = delegate.quantize(gated, SHAPE, Y)
    total = delegate.add((inner, source), (Y, X, X), SHAPE)
    real = delegate.dequantize(total, SHAPE, X)
    pooled = function("max_pool2d.default", real, [3, 3], [2, 2], shape=(2, 12, 4, 3))
    flat = function("mean.dim", pooled, [2, 3], False, None, shape=(2, 12))
    softmax = function("_softmax.default", real, 1, False, shape=SHAPE)
    quantized = delegate.quantize(softmax, SHAPE, UNIT)
    for output in (flat, softmax, quantized, total, gated):
        delegate.result(output)
    return from_executorch(delegate.blob(), outputs=["out0", "out1", "out2", "out3"])


@pytest.mark.parametrize("policy", ["auto", "executorch"])
def test_islands_give_the_references_bits(policy: str, device: Device) -> None:
    graph = squeeze_and_excite()
    x = np.random.default_rng(1).normal(scale=3, size=SHAPE).astype(np.float32)
    expected = reference.run(graph, [x])
    with load(graph, device=device, policy=policy) as model:
        found = model(x)
        assert list(found) == list(graph.outputs)
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
