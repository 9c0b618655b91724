"""What from_tflite refuses, and what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_makers import X8, XU, Y8, Maker, Network
from tests.tflite_operators import NETWORKS
from vkbackend.errors import FormatError, InputError, UnsupportedError, VkBackendError
from vkbackend.frontends.tflite import from_tflite
from vkbackend.graph import Quantization


def message(network: Network, **arguments: object) -> str:
    """The text of the UnsupportedError that the network raises."""
    with pytest.raises(UnsupportedError) as caught:
        from_tflite(network.content, **arguments)  # type: ignore[arg-type]
    return str(caught.value)


def two_branches() -> Network:
    """x -> RELU -> ABS -> NEG -> RELU, and RELU -> a RELU6 whose types differ."""
    make = Maker("branches")
    tensor = make.file.tensor
    x = make.file.operator("RELU", [make.x((1, 4))], tensor((1, 4), X8, name="first"))
    y = make.file.operator("ABS", [x], tensor((1, 4), X8, name="network/abs"), "AbsOptions")
    y = make.file.operator("NEG", [y], tensor((1, 4), X8, name="network/neg"), "NegOptions")
    y = make.file.operator("RELU", [y], tensor((1, 4), X8, name="last"))
    other = tensor((1, 4), Quantization(0.1, 3, "uint8"), name="other")
    return make.network(y, make.file.operator("RELU6", [x], other))


def test_every_refused_operator_is_listed_with_its_place_and_where_to_cut() -> None:
    network = two_branches()
    assert message(network) == (
        "the .tflite model: 3 operators cannot be converted:\n"
        "  'network/abs' (ABS, operator 1 of 5): this operator is not supported\n"
        "  'network/neg' (NEG, operator 2 of 5): this operator is not supported\n"
        "  'other' (RELU6, operator 4 of 5): the input is int8, the output uint8\n"
        "To run the part before, cut the network there: outputs=['first']"
    )
    graph = from_tflite(network.content, outputs=["first"])
    assert [node.op.kind for node in graph.nodes] == ["lookup"]


def test_a_float_network_is_refused() -> None:
    make = Maker("float")
    x = make.x((1, 4, 4, 3), None)
    weights = make.file.constant(np.ones((2, 1, 1, 3), np.float32))
    y = make.file.tensor((1, 4, 4, 2), name="y")
    fields = {"StrideH": 1, "StrideW": 1}
    make.file.operator("CONV_2D", [x, weights], y, "Conv2DOptions", **fields)
    assert message(make.network(y)) == (
        "the .tflite model: 1 operator cannot be converted:\n"
        "  'y' (CONV_2D, operator 0 of 1): activations are float32 and weights float32; "
        "both int8 or both uint8 are supported"
    )


def test_unsupported_forms_say_what_is_wrong() -> None:
    make = Maker("forms")
    x = make.x((1, 4, 6), X8)
    order = make.file.tensor((3,), dtype="int32", name="order")
    make.file.operator("SHAPE", [x], order, "ShapeOptions")
    y = make.file.tensor((1, 6, 4), X8, name="y")
    make.file.operator("TRANSPOSE", [x, make.numbers(0, 1)], y, "TransposeOptions")
    assert message(make.network(y)) == (
        "the .tflite model: 1 operator cannot be converted:\n"
        "  'y' (TRANSPOSE, operator 1 of 2): order [0, 1] is none of 3 axes"
    )
    make = Maker("rank")
    x = make.x((1, 2, 3, 4, 5))
    y = make.file.operator("RELU", [x], make.file.tensor((1, 2, 3, 4, 5), X8, name="y"))
    assert message(make.network(y)) == (
        "the .tflite model: 1 operator cannot be converted:\n"
        "  'x0' (an input): tensor 'x0' has rank 5, more than 4"
    )
    make = Maker("sizes")
    y = make.file.tensor((1, 5), X8, name="y")
    make.file.operator("RESHAPE", [make.x((1, 4)), make.numbers(1, 5)], y)
    assert "makes [1, 5] of int8[1, 4], the file declares int8[1, 5]" in message(make.network(y))


def test_numbers_of_a_damaged_file_that_would_not_fit_are_refused() -> None:
    make = Maker("zero_point")
    weights = make.weights((2, 1, 1, 3), uint8=True, zero_point=1 << 31)
    y = make.file.tensor((1, 4, 4, 2), XU, name="y")
    fields = {"StrideH": 1, "StrideW": 1}
    x = make.x((1, 4, 4, 3), XU)
    make.file.operator("CONV_2D", [x, weights], y, "Conv2DOptions", **fields)
    assert "weights uint8[2, 1, 1, 3] have the zero point 2147483648" in message(make.network(y))
    make = Maker("strides")
    inputs = [make.numbers(1, 4, 4, 2), make.weights((2, 1, 1, 3)), make.x((1, 1, 1, 3))]
    y = make.file.tensor((1, 4, 4, 2), Y8, name="y")
    fields = {"StrideH": 1 << 20, "StrideW": 1 << 20}
    make.file.operator("TRANSPOSE_CONV", inputs, y, "TransposeConvOptions", **fields)
    assert "strides (1048576, 1048576) are too large" in message(make.network(y))


def test_outputs_must_be_tensors_of_the_network() -> None:
    content = NETWORKS["linear_flattened"]().content
    with pytest.raises(InputError) as caught:
        from_tflite(content, outputs=["t77"])
    assert str(caught.value) == (
        "the .tflite model: no operator makes a tensor 't77'; perhaps 't4'"
    )
    with pytest.raises(InputError, match="outputs is a list of tensor names, got the text 'y'"):
        from_tflite(content, outputs="y")
    with pytest.raises(InputError, match="each once"):
        from_tflite(content, outputs=["t4", "t4"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "this is no .tflite file: its bytes 4 to 7 are not TFL3"),
        (b"\x89PNG\r\n\x1a\n" * 9, "this is no .tflite file: its bytes 4 to 7 are not TFL3"),
        (b"\x1c\x00\x00\x00TFL3", "this .tflite file is damaged"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(64), "this .tflite file is damaged"),
    ],
)
def test_other_files_are_format_errors(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "network.tflite"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        from_tflite(path)
    assert str(caught.value).startswith(f"{path}: {reason}")
    with pytest.raises(FormatError):
        from_tflite(content)


@pytest.mark.parametrize("name", ["conv", "concat_uint8", "slice", "softmax"])
def test_damaged_files_raise_errors_of_this_package(name: str) -> None:
    content = NETWORKS[name]().content
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        if rng.random() < 0.3:
            damaged = damaged[: rng.integers(8, len(content))]
        for _ in range(int(rng.integers(1, 4))):
            damaged[rng.integers(8, len(damaged))] = rng.integers(256)
        try:
            from_tflite(bytes(damaged))
        except VkBackendError:
            refused += 1
    assert refused > 50


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        from_tflite(tmp_path / "nothing.tflite")


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    content = NETWORKS["relu"]().content
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(VkBackendError, match=r'pip install "vkbackend\[tflite\]"'):
        from_tflite(content)


def test_names_that_stand_for_two_tensors_get_their_index() -> None:
    make = Maker("names")
    x = make.x((1, 4))
    y = make.file.operator("RELU", [x], make.file.tensor((1, 4), X8, name="same"))
    z = make.file.operator("RELU6", [y], make.file.tensor((1, 4), Y8, name="same"))
    graph = from_tflite(make.network(z).content)
    assert graph.outputs == ("same#2",)
    assert [node.name for node in graph.nodes] == ["relu_0", "relu6_1"]
