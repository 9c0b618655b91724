"""`vkbackend check --against`: every tensor of a foreign file, beside another runtime's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import vkbackend as vkb
from tests.tflite_builder import SAME, TfliteBuilder
from vkbackend import cli
from vkbackend.device import Device
from vkbackend.errors import VkBackendError
from vkbackend.frontends.tflite import compare
from vkbackend.frontends.tflite.reader import TfliteModel
from vkbackend.graph import Array, Graph, Quantization

pytest.importorskip("tflite")
pytest.importorskip("ai_edge_litert")

Q, CONVOLVED, SIGMOID = Quantization(0.05, -7), Quantization(0.1, 4), Quantization(1 / 256, -128)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A padded convolution and a sigmoid, as a file."""
    rng = np.random.default_rng(0)
    file = TfliteBuilder()
    x = file.tensor((1, 6, 5, 3), Q, name="x")
    scales = rng.uniform(0.002, 0.02, 8).astype(np.float32)
    weights = file.constant(rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8), scales)
    bias = file.constant(rng.integers(-500, 500, 8).astype(np.int32), Q.scale * scales)
    convolved = file.tensor((1, 6, 5, 8), CONVOLVED, name="convolved")
    sigmoid = file.tensor((1, 6, 5, 8), SIGMOID, name="sigmoid")
    conv = {"Padding": SAME, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    file.operator("CONV_2D", [x, weights, bias], convolved, "Conv2DOptions", **conv)
    file.operator("LOGISTIC", [convolved], sigmoid)
    path = tmp_path_factory.mktemp("network") / "net.tflite"
    path.write_bytes(file.build([x], [sigmoid]))
    return path


def an_input() -> dict[str, Array]:
    """Of the network."""
    return {"x": np.random.default_rng(3).integers(-128, 128, (1, 6, 5, 3)).astype(np.int8)}


def changed(tensor: str, *places: tuple[int, ...]) -> compare.Run:
    """The reference, but for the lowest bit of these elements (in NCHW order)."""

    def run(graph: Graph, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        tensors = compare._run_reference(graph, inputs)
        for place in places:
            tensors[tensor][place] ^= 1
        return tensors

    return run


def test_all_tensors_are_equal(
    network: Path, device: Device, device_index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(network), "--against", "litert", "--device", str(device_index)]
    assert cli.main([*command, "--runs", "2"]) == 0
    assert capsys.readouterr() == (
        f"{device.info.name} and LiteRT are equal: 2 tensors, 960 values compared\n",
        "",
    )
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "against": "litert",
        "runs": 1,
        "values": 480,
        "device": device.info.name,
        "tensors": 2,
        "close": [],
        "difference": None,
    }


def test_the_demo_equals_onnxruntime(
    device: Device, device_index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    file = Path(vkb.__file__).parent / "demo/digits.onnx"
    command = ["check", str(file), "--against", "onnxruntime", "--device", str(device_index)]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == (
        f"{device.info.name} and ONNX Runtime are equal: 17 tensors, 14,228 values compared\n"
    )


def test_the_first_difference_is_told(
    network: Path,
    device: Device,
    device_index: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = compare._run_litert

    def other(model: TfliteModel, path: str, inputs: Mapping[str, Array]) -> dict[int, Array]:
        tensors = {index: array.copy() for index, array in real(model, path, inputs).items()}
        first, second = sorted(tensors)
        tensors[first][0, 4, 2, 7] ^= 1
        tensors[first][0, 5, 0, 0] ^= 1
        tensors[second][...] = 0
        return tensors

    monkeypatch.setattr(compare, "_run_litert", other)
    command = ["check", str(network), "--against", "litert", "--device", str(device_index)]
    command += ["--seed", "5", "--runs", "3"]
    assert cli.main([*command, "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    found = facts["difference"]
    assert (facts["runs"], found["seed"]) == (1, 5)
    assert (found["tensor"], found["index"]) == ("convolved", [0, 4, 2, 7])
    assert int(found["found"]) ^ 1 == found["expected"]
    assert cli.main(command) == 1
    assert capsys.readouterr().out == (
        f"{device.info.name} and LiteRT first differ with seed 5 at\n"
        f"CONV_2D 'conv_2d_0': convolved: element [0, 4, 2, 7] is {found['found']:g}, LiteRT has "
        f"{found['expected']:g}; 2 of 240 differ\n2 tensors, 480 values compared\n"
    )


def test_the_reference_equals_litert(network: Path) -> None:
    expected = compare.Comparison(("convolved", "sigmoid"), 480, None)
    assert compare.first_difference(network, an_input()) == expected


def test_a_place_is_told_as_the_file_counts(network: Path) -> None:
    run = changed("sigmoid", (0, 7, 5, 4), (0, 7, 5, 3))
    found = compare.first_difference(network, an_input(), run=run)
    assert found.difference is not None
    assert (found.difference.node, found.difference.operator) == ("logistic_1", "LOGISTIC")
    assert (found.difference.index, found.difference.wrong) == ((0, 5, 3, 7), 2)


def test_a_tensor_that_was_folded_is_not_compared(network: Path) -> None:
    def run(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = dict(compare._run_reference(graph, inputs))
        del tensors["convolved"]
        return tensors

    assert compare.first_difference(network, an_input(), run=run).tensors == ("sigmoid",)


def test_another_type_is_an_error(network: Path) -> None:
    def run(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tensors = compare._run_reference(graph, inputs)
        return {**tensors, "sigmoid": tensors["sigmoid"].view(np.uint8)}

    with pytest.raises(VkBackendError) as caught:
        compare.first_difference(network, an_input(), run=run)
    assert str(caught.value) == (
        "LOGISTIC 'logistic_1': sigmoid is uint8[1, 6, 5, 8] here and int8[1, 6, 5, 8] in LiteRT"
    )


def test_without_litert(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(VkBackendError) as caught:
        compare.first_difference(network, an_input())
    message = str(caught.value)
    assert message.startswith("the comparison needs LiteRT, which cannot be imported (")
    assert message.endswith("): pip install ai-edge-litert")


def test_what_litert_refuses(network: Path) -> None:
    with pytest.raises(VkBackendError, match=r"net\.tflite: LiteRT cannot run this file: "):
        compare.first_difference(network, {"x": an_input()["x"][:, 1:]})
