"""Files that ExecuTorch exported, on every device: the bits of its delegate."""

from __future__ import annotations

import numpy as np
import pytest

from tests import executorch_exports as exports
from vkbackend.device import Device
from vkbackend.gpu import Family
from vkbackend.graph import Array
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
