"""Whole networks: what quantize_static writes, and the demo's, equal to ONNX Runtime."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from benchmarks.networks import quiet_quantizer
from tests.null.onnx_networks import Network, assert_equal_bits, session
from vkbackend import reference
from vkbackend.demo import digits_data
from vkbackend.frontends.onnx import from_onnx

DEMO = Path(digits_data.__file__).parent / "digits.onnx"
Float32 = npt.NDArray[np.float32]


class Calibration:
    """Hands a few random images to the quantiser."""

    def __init__(self, images: list[Float32]) -> None:
        self.feeds = ({"image": image} for image in images)

    def get_next(self) -> dict[str, Float32] | None:
        """The next input, or None after the last."""
        return next(self.feeds, None)


class FloatNetwork(Network):
    """Float layers with random weights; the images are (n, channels, h, w) or (n, channels, w)."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, opset=int(np.random.default_rng(seed).integers(14, 20)))
        self.symbolic_batch = True
        axes = 1 if self.rng.random() < 0.2 else 2
        self.image = [1, int(self.rng.integers(1, 6)), *self.rng.integers(9, 14, axes).tolist()]
        self.axes = axes
        self.channels = self.image[1]

    def weights(self, *shape: int) -> str:
        """Random weights that keep the size of what passes them."""
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 4
        return self.constant(self.rng.normal(size=shape) / np.sqrt(fan_in), "float32")

    def conv(self, x: str, out_channels: int, kernel: int, groups: int = 1, stride: int = 1) -> str:
        """A convolution with same padding, with a bias or without."""
        inputs = [x, self.weights(out_channels, self.channels // groups, *[kernel] * self.axes)]
        if self.rng.random() < 0.7:
            inputs.append(self.weights(out_channels))
        self.channels = out_channels
        pads = [kernel // 2] * (2 * self.axes)
        return self.node("Conv", inputs, group=groups, pads=pads, strides=[stride] * self.axes)

    def layer(self, x: str) -> str:
        """One random layer, perhaps with Relu."""
        kind = self.rng.choice(["conv", "grouped", "depthwise", "pair", "pool", "function"])
        if kind == "conv":
            x = self.conv(
                x, int(self.rng.choice([4, 6, 8])), 3, stride=int(self.rng.integers(1, 3))
            )
        elif kind == "grouped":
            x = self.conv(x, self.channels, 3, groups=2)
        elif kind == "depthwise":
            x = self.conv(x, self.channels, 3, groups=self.channels)
        elif kind == "pair":
            pair = [x, self.conv(x, self.channels, 1)]
            x = self.node(str(self.rng.choice(["Add", "Mul", "Sub"])), pair)
        elif kind == "pool":
            x = self.node("MaxPool", [x], kernel_shape=[2] * self.axes)
        else:
            functions = ["LeakyRelu", "Sigmoid", "HardSwish", "Tanh", "HardSigmoid"]
            x = self.node(str(self.rng.choice(functions)), [x])
        return self.node("Relu", [x]) if self.rng.random() < 0.5 else x

    def build(self) -> onnx.ModelProto:
        """Layers, global pooling and a classifier."""
        self.inputs["image"] = np.zeros(self.image, np.float32)
        x = self.node("Relu", [self.conv("image", 4, 3)])
        for _ in range(int(self.rng.integers(2, 6))):
            x = self.layer(x)
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        if self.rng.random() < 0.5:
            x = self.node("Gemm", [x, self.weights(7, self.channels), self.weights(7)], transB=1)
        else:
            x = self.node("MatMul", [x, self.weights(self.channels, 7)])
        return self.model(x)


def quantised(
    network: FloatNetwork, folder: Path, act: QuantType, weight: QuantType, **options: Any
) -> onnx.ModelProto:
    """What quantize_static makes of the network."""
    source, target = folder / "float.onnx", folder / "quantised.onnx"
    onnx.save(network.build(), source)
    images = [network.rng.normal(size=network.image).astype(np.float32) for _ in range(2)]
    with quiet_quantizer():
        quantize_static(
            source,
            target,
            Calibration(images),
            activation_type=act,
            weight_type=weight,
            reduce_range=act == QuantType.QInt8,
            **options,
        )
    return onnx.load(target)


TYPES = (
    (QuantType.QUInt8, QuantType.QInt8, False),
    (QuantType.QUInt8, QuantType.QInt8, True),
    (QuantType.QUInt8, QuantType.QUInt8, False),
    (QuantType.QInt8, QuantType.QInt8, True),
)
EXTRA: tuple[dict[str, bool], ...] = (
    {},
    {"ActivationSymmetric": True},
    {"DedicatedQDQPair": True, "AddQDQPairToWeight": True},
    {"QDQKeepRemovableActivations": True},
    {"QuantizeBias": False},
)


@pytest.mark.parametrize(("types", "extra"), list(itertools.product(range(4), range(5))))
def test_quantize_static(types: int, extra: int, tmp_path: Path) -> None:
    act, weight, per_channel = TYPES[types]
    network = FloatNetwork(5 * types + extra)
    options = {"per_channel": per_channel, "extra_options": EXTRA[extra]}
    model = quantised(network, tmp_path, act, weight, **options)
    images = network.rng.normal(size=[5, *network.image[1:]]).astype(np.float32)
    assert_equal_bits(model, {"image": images}, batch_size=5)


def test_operator_format(tmp_path: Path) -> None:
    """QuantFormat.QOperator: QLinear operators instead of pairs of Q and DQ."""
    network = FloatNetwork(2)
    types = (QuantType.QUInt8, QuantType.QInt8)
    model = quantised(network, tmp_path, *types, quant_format=QuantFormat.QOperator)
    images = network.rng.normal(size=[3, *network.image[1:]]).astype(np.float32)
    assert_equal_bits(model, {"image": images}, batch_size=3)


def test_the_demo_network_on_every_held_out_scan() -> None:
    images = digits_data.load().test_images
    model = onnx.load(DEMO)
    for info in (model.graph.input[0], model.graph.output[0]):
        info.type.tensor_type.shape.dim[0].dim_param = "batch"
    assert_equal_bits(model, {"image": images}, batch_size=len(images))


def test_inner_tensors_of_the_demo_network() -> None:
    """Every quantised tensor is an output, so that no later layer can hide a difference."""
    model = onnx.load(DEMO)
    names = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    for name in names:
        info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, None)
        model.graph.output.append(info)
    image = digits_data.load().test_images[:1]
    graph = assert_equal_bits(model, {"image": image})
    assert set(names) < set(graph.outputs)


def test_outputs_cut_the_network() -> None:
    names = ["block2.pointwise_DequantizeLinear_Output", "stem_QuantizeLinear_Output"]
    graph = from_onnx(DEMO, outputs=names)
    assert graph.outputs == tuple(names)
    assert [str(graph.types[name]) for name in names] == [
        "float32[1, 64, 4, 4]",
        "uint8[1, 32, 8, 8]",
    ]
    assert "classifier" not in {node.name for node in graph.nodes}
    image = digits_data.load().test_images[:1]
    whole = reference.run(from_onnx(DEMO), {"image": image})
    cut = reference.run(graph, {"image": image})
    np.testing.assert_array_equal(cut[names[1]], whole[names[1]])


def test_inputs_that_no_output_needs_are_left_out() -> None:
    network = Network(1)
    for name in ("a", "b"):
        x = network.dequantize(network.input(name, "uint8", (1, 4)), 0.1, np.uint8(3))
        network.quantize(network.node("Relu", [x]), 0.1, np.uint8(7), f"{name}.y")
    assert list(from_onnx(network.model("a.y", "b.y"), outputs=["b.y"]).inputs) == ["b"]


def test_external_data_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    options = {"location": "weights.bin", "size_threshold": 0, "save_as_external_data": True}
    onnx.save(onnx.load(DEMO), path, **options)
    image = digits_data.load().test_images[:1]
    expected = session(onnx.load(DEMO)).run(None, {"image": image})[0]
    found = reference.run(from_onnx(str(path)), [image])["logits"]
    np.testing.assert_array_equal(found, expected)
