"""QLinearConv and QDQ convolutions of odd shapes, equal to ONNX Runtime in every bit."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.null.onnx_networks import Network, assert_equal_bits, session
from vkbackend import reference
from vkbackend.frontends.onnx import from_onnx
from vkbackend.graph import Array
from vkbackend.ops import Conv2d, Hold

AUTO_PADS = ("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
TYPES = (("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8"))  # of x and y, of w


def geometry(network: Network) -> tuple[list[int], list[int], dict[str, object]]:
    """Shapes of x and w, and attributes: anything may be left out where it is ONNX's default."""
    rng = network.rng
    axes = int(rng.choice([1, 2, 2, 2]))
    groups = int(rng.choice([1, 1, 2, 3, 5]))
    channels, filters = (int(rng.integers(1, 6)) for _ in range(2))
    if rng.random() < 0.2:
        channels = filters = 1
        groups = int(rng.integers(1, 9))
    kernel = rng.integers(1, 5, axes).tolist()
    auto_pad = str(rng.choice(AUTO_PADS))
    # ONNX Runtime refuses SAME with a dilation.
    dilations = [1] * axes if "SAME" in auto_pad else rng.integers(1, 4, axes).tolist()
    strides = rng.integers(1, 4, axes).tolist()
    attributes: dict[str, object] = {}
    if rng.random() < 0.6:
        attributes["kernel_shape"] = kernel
    if max(strides) > 1 or rng.random() < 0.5:
        attributes["strides"] = strides
    if max(dilations) > 1 or rng.random() < 0.5:
        attributes["dilations"] = dilations
    if groups > 1 or rng.random() < 0.5:
        attributes["group"] = groups
    if auto_pad != "NOTSET":
        attributes["auto_pad"] = auto_pad
    elif rng.random() < 0.8:
        attributes["pads"] = rng.integers(0, 4, 2 * axes).tolist()
    reach = [step * (size - 1) + 1 for step, size in zip(dilations, kernel, strict=True)]
    sizes = [int(rng.integers(least, least + 8)) for least in reach]
    x_shape = [int(rng.integers(1, 4)), groups * channels, *sizes]
    return x_shape, [groups * filters, channels, *kernel], attributes


def random_convolution(seed: int) -> Network:
    """A QLinearConv `y` of x with random everything."""
    network = Network(seed, opset=int(np.random.default_rng(seed).integers(10, 24)))
    rng = network.rng
    x_shape, w_shape, attributes = geometry(network)
    x_type, w_type = TYPES[rng.integers(3)]
    form = [(), (1,)][rng.integers(2)]
    w_form = (w_shape[0],) if rng.random() < 0.5 else form
    x_scale, w_scale = network.scale(shape=form), network.scale(0.001, 0.1, w_form)
    # ONNX Runtime wants one weight zero point for all channels.
    w_zero = np.full(w_form, network.whole(w_type) if rng.random() < 0.6 else 0, w_type)
    bits = 7 if x_type == "int8" else 8
    spread = float(x_scale.mean()) * float(w_scale.mean()) * 5500 * np.sqrt(np.prod(w_shape[1:]))
    y_scale = np.full(form, spread / rng.uniform(10, 60), np.float32)
    inputs = [
        network.input("x", x_type, x_shape),
        *network.parameters(x_scale, network.whole(x_type, form)),
        network.constant(network.whole(w_type, w_shape, bits)),
        *network.parameters(w_scale, w_zero),
        *network.parameters(y_scale, network.whole(x_type, form)),
    ]
    if rng.random() < 0.6:
        inputs.append(network.constant(rng.integers(-20000, 20000, w_shape[0]), "int32"))
    network.node("QLinearConv", inputs, "y", **attributes)
    return network


@pytest.mark.parametrize("seed", range(60))
def test_random_qlinear_conv(seed: int) -> None:
    network = random_convolution(seed)
    assert_equal_bits(network.model("y"), network.inputs, fuse=False)


def as_constant_nodes(model: onnx.ModelProto) -> None:
    """Turns every initializer into a Constant node."""
    for tensor in reversed(model.graph.initializer):
        node = helper.make_node("Constant", [], [tensor.name], value=tensor)
        model.graph.node.insert(0, node)
    del model.graph.initializer[:]


def test_constants_may_be_nodes() -> None:
    network = random_convolution(3)
    model = network.model("y")
    as_constant_nodes(model)
    assert_equal_bits(model, network.inputs, fuse=False)


def simple(x_type: str, y_type: str, w_zero: Array, w_type: str = "int8") -> Network:
    """A 3x3 QLinearConv of 4 channels and these types."""
    network = Network(7)
    inputs = [
        network.input("x", x_type, (2, 3, 6, 5)),
        *network.parameters(0.02, np.asarray(100, x_type)),
        network.constant(network.whole(w_type, (4, 3, 3, 3))),
        *network.parameters(np.full(w_zero.shape, 0.01), w_zero),
        *network.parameters(0.31, np.asarray(64 + (128 if y_type == "uint8" else 0), y_type)),
    ]
    network.node("QLinearConv", inputs, "y", pads=[1, 2, 0, 1])
    return network


def test_output_of_another_type_than_the_input() -> None:
    """ONNX Runtime has no such kernel: the zero point is added last, so 128 moves out of it."""
    zero = np.zeros((), np.int8)
    whole, mixed = simple("uint8", "uint8", zero), simple("uint8", "int8", zero)
    expected = session(whole.model("y"), fuse=False).run(None, whole.inputs)[0]
    found = reference.run(from_onnx(mixed.model("y")), mixed.inputs)["y"]
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, expected.astype(np.int16) - 128)


@pytest.mark.parametrize("w_type", ["int8", "uint8"])
def test_weight_zero_points_that_differ_by_channel(w_type: str) -> None:
    """ONNX Runtime wants them equal: compared one channel at a time."""
    zeros = np.array([3, 0, 127, 90], w_type)
    network = simple("uint8", "uint8", zeros, w_type)
    found = reference.run(from_onnx(network.model("y")), network.inputs)["y"]
    for channel, zero in enumerate(zeros):
        alone = simple("uint8", "uint8", np.full(4, zero), w_type)
        expected = session(alone.model("y"), fuse=False).run(None, alone.inputs)[0]
        np.testing.assert_array_equal(found[:, channel], expected[:, channel])


def test_a_reader_may_state_another_scale_than_the_writer() -> None:
    """ONNX states scale and zero point at each end of a tensor; the bytes are what is shared."""
    network = Network(5)
    source = network.input("x", "uint8", (1, 3, 6, 6))
    for output, x_scale, x_zero in (("middle", 0.02, 100), ("y", 0.05, 7)):
        inputs = [
            source,
            *network.parameters(x_scale, np.uint8(x_zero)),
            network.constant(network.whole("int8", (3, 3, 2, 2))),
            *network.parameters(0.01, np.int8(0)),
            *network.parameters(0.3, np.uint8(131)),
        ]
        source = network.node("QLinearConv", inputs, output)
    graph = assert_equal_bits(network.model("middle", "y"), network.inputs, fuse=False)
    assert [node.op.kind for node in graph.nodes] == ["conv2d", "lookup", "conv2d"]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_with_a_dilation(auto_pad: str) -> None:
    """ONNX Runtime refuses it; ONNX defines it: ceil(size / stride) outputs."""
    network = Network(2)
    inputs = [
        network.input("x", "uint8", (1, 1, 9, 8)),
        *network.parameters(0.02, np.uint8(100)),
        network.constant(network.whole("int8", (1, 1, 2, 4))),
        *network.parameters(0.01, np.int8(0)),
        *network.parameters(0.3, np.uint8(131)),
    ]
    network.node("QLinearConv", inputs, "y", auto_pad=auto_pad, dilations=[3, 1], strides=[2, 3])
    hold, node = from_onnx(network.model("y")).nodes
    assert isinstance(hold.op, Hold)  # the pads are those of this size
    assert isinstance(node.op, Conv2d)
    # Height: 5 outputs reach over 12 rows of 9; width: 3 outputs over 10 columns of 8.
    assert node.op.padding == ((1, 1, 2, 1) if auto_pad == "SAME_UPPER" else (2, 1, 1, 1))
    assert from_onnx(network.model("y")).types["y"].shape == (1, 1, 5, 3)


def quantized_weight(network: Network, shape: tuple[int, ...], per_channel: bool) -> str:
    """DequantizeLinear of random int8 weights."""
    form = (shape[0],) if per_channel else ()
    scale = network.scale(0.001, 0.02, form)
    weight = network.constant(network.whole("int8", shape, 7))
    axis = {"axis": 0} if per_channel else {}
    return network.dequantize(weight, scale, np.zeros(form, np.int8), **axis)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("bias", ["none", "float", "other scale"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_qdq_convolution(dtype: str, bias: str, per_channel: bool) -> None:
    network = Network(11)
    x = network.dequantize(network.input("x", dtype, (2, 4, 9, 8)), 0.03, np.asarray(90, dtype))
    inputs = [x, quantized_weight(network, (6, 2, 3, 2), per_channel)]
    if bias == "float":
        inputs.append(network.constant(network.rng.normal(size=6), "float32"))
    if bias == "other scale":
        quantized = network.constant(network.rng.integers(-999, 999, 6), "int32")
        inputs.append(network.dequantize(quantized, 0.001, np.int32(0)))
    y = network.node("Conv", inputs, group=2, pads=[1, 0, 1, 1], strides=[1, 2])
    network.quantize(y, 0.21, np.asarray(80, dtype), "y")
    # With such a bias ONNX Runtime keeps the convolution in float.
    assert_equal_bits(network.model("y"), network.inputs, oracle_is_float=bias == "other scale")


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_relu_at_the_least_value_needs_no_clamp(dtype: str) -> None:
    network = Network(13)
    x = network.dequantize(network.input("x", dtype, (1, 3, 8, 8)), 0.03, np.asarray(90, dtype))
    y = network.node("Conv", [x, quantized_weight(network, (5, 3, 3, 3), True)])
    y = network.node("Relu", [y])
    network.quantize(y, 0.2, np.asarray(np.iinfo(dtype).min, dtype), "y")
    (node,) = assert_equal_bits(network.model("y"), network.inputs).nodes
    assert isinstance(node.op, Conv2d)
    assert node.op.clamp is None


def test_relu_and_clip_become_a_clamp() -> None:
    """ONNX Runtime computes these in float: a rare output is off by one."""
    network = Network(17)
    x = network.dequantize(network.input("x", "uint8", (1, 3, 8, 8)), 0.03, np.uint8(90))
    y = network.node("Conv", [x, quantized_weight(network, (5, 3, 3, 3), False)])
    y = network.node("Relu", [y])
    y = network.node(
        "Clip", [y, network.constant(-3.0, "float32"), network.constant(6.0, "float32")]
    )
    network.quantize(y, 0.1, np.uint8(30), "y")
    graph = assert_equal_bits(network.model("y"), network.inputs, oracle_is_float=True)
    (node,) = graph.nodes
    assert isinstance(node.op, Conv2d)
    assert node.op.clamp == (30, 90)


def test_weights_that_the_file_quantises_itself() -> None:
    """float weights -> QuantizeLinear -> DequantizeLinear, per channel."""
    network = Network(19)
    x = network.dequantize(network.input("x", "uint8", (1, 3, 8, 8)), 0.03, np.uint8(90))
    scale, zero = np.array([0.01, 0.02], np.float32), np.zeros(2, np.int8)
    weight = network.constant(network.rng.normal(size=(2, 3, 3, 3)), "float32")
    quantized = network.node("QuantizeLinear", [weight, *network.parameters(scale, zero)], axis=0)
    y = network.node("Conv", [x, network.dequantize(quantized, scale, zero, axis=0)])
    network.quantize(y, 0.1, np.uint8(128), "y")
    assert_equal_bits(network.model("y"), network.inputs)


def test_nodes_keep_their_names_and_get_one_where_they_have_none() -> None:
    model = simple("uint8", "uint8", np.zeros((), np.int8)).model("y")
    assert from_onnx(model).nodes[0].name == "QLinearConv.y"
    model.graph.node[0].name = ""
    assert from_onnx(model).nodes[0].name == "QLinearConv_y"


def test_initializers_may_be_declared_as_inputs_too() -> None:
    network = simple("uint8", "uint8", np.zeros((), np.int8))
    model = network.model("y")
    for tensor in model.graph.initializer:
        shape = numpy_helper.to_array(tensor).shape
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, shape)
        model.graph.input.append(info)
    graph = assert_equal_bits(model, network.inputs, fuse=False)
    assert list(graph.inputs) == ["x"]
