"""What from_onnx refuses, and what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.null.onnx_networks import Network
from vkbackend.demo import digits_data
from vkbackend.errors import FormatError, InputError, UnsupportedError, VkBackendError
from vkbackend.frontends.onnx import from_onnx

DEMO = Path(digits_data.__file__).parent / "digits.onnx"


def message(model: onnx.ModelProto, **arguments: object) -> str:
    """The text of the UnsupportedError that the network raises."""
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(model, **arguments)  # type: ignore[arg-type]
    return str(caught.value)


def with_shape(*shape: int | str) -> onnx.ModelProto:
    """The demo network with another input shape."""
    model = onnx.load(DEMO)
    new = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    model.graph.input[0].CopyFrom(new)
    return model


def test_every_refused_node_is_listed_with_where_to_cut() -> None:
    network = Network()
    x = network.dequantize(network.input("x", "uint8", (1, 2, 4, 4)), 0.1, np.uint8(3))
    y = network.quantize(network.node("Relu", [x]), 0.1, np.uint8(0), "relu_q")
    y = network.dequantize(y, 0.1, np.uint8(0))
    det = network.node("Det", [y], "det")
    y = network.quantize(det, 0.1, np.uint8(0))
    y = network.dequantize(y, 0.1, np.uint8(0))
    y = network.node("Hardmax", [y], "hardmax")
    network.quantize(y, 0.1, np.uint8(0), "y")
    assert message(network.model("y")) == (
        "the ONNX model: 2 nodes cannot be converted:\n"
        "  'Det.det' (Det): this operator is not supported\n"
        "  'Hardmax.hardmax' (Hardmax): this operator is not supported\n"
        "To run the part before, cut the network there: outputs=['t9'], "
        "or --outputs t9 on the command line"
    )
    assert from_onnx(network.model("y"), outputs=["t9"]).outputs == ("t9",)


def test_a_float_network_is_told_to_be_quantised() -> None:
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(DEMO.with_name("digits_float.onnx"))
    assert str(caught.value) == (
        f"{DEMO.with_name('digits_float.onnx')}: 1 node cannot be converted:\n"
        "  'stem' (Conv): input 'image' is float32 and not quantised: QuantizeLinear and "
        "DequantizeLinear are missing before this node\n"
        "The network is not quantised at all: quantise it first, for example with "
        "onnxruntime.quantization.quantize_static"
    )


def test_a_function_behind_a_convolution_needs_quantisation_between() -> None:
    network = Network()
    x = network.dequantize(network.input("x", "uint8", (1, 2, 4, 4)), 0.1, np.uint8(3))
    weight = network.dequantize(network.constant(np.ones((1, 2, 1, 1), np.int8)), 1, np.int8(0))
    y = network.node("Tanh", [network.node("Conv", [x, weight])], "tanh")
    network.quantize(y, 0.1, np.uint8(0), "y")
    assert (
        "  'Tanh.tanh' (Tanh): tanh follows without QuantizeLinear and DequantizeLinear between; "
        "only Relu and Clip fuse"
    ) in message(network.model("y"))


def test_weights_that_the_network_computes() -> None:
    network = Network()
    x = network.dequantize(network.input("x", "uint8", (1, 2, 4, 4)), 0.1, np.uint8(3))
    network.quantize(network.node("Conv", [x, x], "conv"), 0.1, np.uint8(0), "y")
    found = message(network.model("y"))
    assert "'Conv.conv' (Conv): weight 't3' is not DequantizeLinear of a constant" in found


def test_shapes_that_do_not_fit_name_the_node() -> None:
    network = Network()
    a, b = (
        network.dequantize(network.input(name, "uint8", shape), 0.1, np.uint8(3))
        for name, shape in (("a", (1, 2, 4, 4)), ("b", (1, 3, 1, 1)))
    )
    network.quantize(network.node("Add", [a, b], "add"), 0.1, np.uint8(0), "y")
    assert ("'Add.add' (Add): shapes [1, 2, 4, 4] and [1, 3, 1, 1] cannot be broadcast") in message(
        network.model("y")
    )


def test_a_further_output_that_is_used() -> None:
    network = Network()
    network.input("x", "uint8", (1, 2, 4, 4))
    network.node("MaxPool", ["x"], "y", kernel_shape=[2, 2])
    network.nodes[0].output.append("indices")
    model = helper.make_model(
        helper.make_graph(
            network.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, (1, 2, 4, 4))],
            [helper.make_tensor_value_info("indices", TensorProto.INT64, None)],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    assert "'MaxPool.y' (MaxPool): its further output 'indices' is used" in message(model)


def test_types_that_are_not_8_bit() -> None:
    network = Network(opset=21)
    network.input("x", "float32", (1, 4))
    x = network.quantize("x", 0.1, np.int16(3))
    network.node("DequantizeLinear", [x, *network.nodes[0].input[1:]], "y")
    assert "quantised as int16; int8 and uint8 are supported" in message(network.model("y"))


def test_an_output_that_is_float_names_the_quantised_one() -> None:
    found = message(onnx.load(DEMO), outputs=["stem"])
    assert (
        "'stem' (Conv): output 'stem' is float32: "
        "ask for what it is quantised to, 'stem_QuantizeLinear_Output'"
    ) in found


def test_symbolic_dimensions() -> None:
    assert from_onnx(with_shape("n", 1, 8, 8), batch_size=3).inputs["image"].shape == (3, 1, 8, 8)
    graph = from_onnx(with_shape("n", 1, "height", 8), batch_size=3)
    assert graph.inputs["image"].shape == (3, 1, 224, 8)
    graph = from_onnx(with_shape("n", 1, "height", 8), shapes={"image": (2, 1, 16, 8)})
    assert graph.inputs["image"].shape == (2, 1, 16, 8)
    with pytest.raises(InputError, match=r"has shape \[n, 1, 8, 8\], \[1, 2, 8, 8\] was asked"):
        from_onnx(with_shape("n", 1, 8, 8), shapes={"image": (1, 2, 8, 8)})
    assert message(with_shape("n", "c", "h", "w")) == (
        "the ONNX model: input 'image' has shape [n, c, h, w]: the number of channels must be "
        "known; give it, shapes={'image': ...}"
    )


def test_a_fixed_batch_stays() -> None:
    assert from_onnx(with_shape(2, 1, 8, 8)).inputs["image"].shape == (2, 1, 8, 8)
    assert message(with_shape(1, 1, 8, 8), batch_size=3) == (
        "the ONNX model: input 'image' has shape [1, 1, 8, 8]: the file fixes its batch at 1, "
        "batch_size=3 was asked for; export it with a symbolic batch, or leave batch_size out"
    )


def test_an_input_without_a_shape_or_of_another_type() -> None:
    model = onnx.load(DEMO)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert message(model) == (
        "the ONNX model: input 'image' has no shape; give one, shapes={'image': ...}"
    )
    assert not model.graph.input[0].type.tensor_type.HasField("shape")
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert "input 'image' is float64; inputs are float32, int8 or uint8" in message(model)


@pytest.mark.parametrize("content", [b"", b"\xff" * 300, DEMO.read_bytes()[:20_000]])
def test_a_damaged_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"damaged\.onnx: not a(n| valid) ONNX model"):
        from_onnx(path)


def test_a_damaged_tensor() -> None:
    model = onnx.load(DEMO)
    weight = next(each for each in model.graph.initializer if each.name.endswith("quantized"))
    weight.raw_data = weight.raw_data[:-3]
    with pytest.raises(FormatError, match=r"the ONNX model: .*; export"):
        from_onnx(model)


def test_an_attribute_of_the_wrong_type() -> None:
    network = Network()
    x, y = (network.parameters(0.1, np.uint8(3)) for _ in range(2))
    network.input("x", "uint8", (1, 2, 4, 4))
    network.node("QLinearGlobalAveragePool", ["x", *x, *y], "y", channels_last="yes")
    with pytest.raises(FormatError, match=r"attribute channels_last has the wrong type str"):
        from_onnx(network.model("y"))


def test_missing_files_are_the_callers_business(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "missing.onnx")
    path = tmp_path / "network.onnx"
    onnx.save(onnx.load(DEMO), path, save_as_external_data=True, location="w", size_threshold=0)
    (tmp_path / "w").unlink()
    with pytest.raises(FormatError, match=r"network\.onnx: "):
        from_onnx(path)
    with pytest.raises(FormatError, match="were left in a file beside it: pass the path"):
        from_onnx(onnx.load(path, load_external_data=False))


def test_arguments_are_checked() -> None:
    with pytest.raises(InputError, match="batch_size is a whole number of at least 1, got 0"):
        from_onnx(DEMO, batch_size=0)
    with pytest.raises(InputError, match="no node makes a tensor 'stam'; perhaps 'stem'"):
        from_onnx(DEMO, outputs=["stam"])
    with pytest.raises(InputError, match="a list of tensor names, got the text 'logits'"):
        from_onnx(DEMO, outputs="logits")
    with pytest.raises(InputError, match="at least one tensor and each once"):
        from_onnx(DEMO, outputs=["logits", "logits"])


def test_without_the_onnx_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(VkBackendError) as caught:
        from_onnx(DEMO)
    assert 'pip install "vkbackend[onnx]"' in str(caught.value)
