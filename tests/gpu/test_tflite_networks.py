"""TensorFlow Lite networks on every device: equal to LiteRT's reference kernels in every bit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.shared_models import shared_model
from tests.tflite_operators import NETWORKS
from vkbackend import reference
from vkbackend.device import Device
from vkbackend.frontends.tflite import from_tflite
from vkbackend.gpu import Family
from vkbackend.runtime import load
from vkbackend.signature import from_host, to_host

# Samples per network on a fast device; those that are slow on SwiftShader run a sample or none.
SAMPLES = {
    "ad_autoencoder": 16,
    "kws_dscnn": 64,
    "resnet8_cifar10": 16,
    "vww_mobilenetv1": 12,
    "person_detect": 12,
    "sww_conv1d": 45,
    "mobilenetv1_025_128_uint8": 16,
    "mobilenetv2_224_int8": 4,
}
LARGE = ("mobilenetv2_224_int8",)


@pytest.mark.parametrize("name", SAMPLES)
def test_networks_give_the_expected_bits(name: str, device: Device) -> None:
    slow = device.info.family is Family.SWIFTSHADER
    if slow and name in LARGE:
        pytest.skip(f"{name} takes SwiftShader minutes")
    shared = shared_model(name)
    count = 2 if slow else SAMPLES[name]
    with load(from_tflite(shared.path), device=device) as model:
        for x, y in list(zip(shared.inputs, shared.outputs, strict=True))[:count]:
            found = model(x[None])
            assert found.dtype == y.dtype
            assert found.shape == (1, *y.shape)
            assert np.count_nonzero(found != y) == 0


@pytest.mark.parametrize("name", NETWORKS)
def test_operators_give_the_bits_of_numpy(name: str, device: Device) -> None:
    network = NETWORKS[name]()
    graph = from_tflite(network.content)
    inputs = [
        from_host(array, graph.host_layout(tensor))
        for array, tensor in zip(network.inputs, graph.inputs, strict=True)
    ]
    tensors = reference.run(graph, inputs)
    with load(graph, device=device) as model:
        result = model(*network.inputs)
    found = result if isinstance(result, dict) else {graph.outputs[0]: result}
    for output, values in found.items():
        expected = to_host(tensors[output], graph.host_layout(output))
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected)
