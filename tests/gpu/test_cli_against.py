"""`vkbackend check --against litert`: every tensor of a .tflite file, beside LiteRT's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import vkbackend as vkb
from tests.tflite_builder import SAME, TfliteBuilder
from vkbackend import cli, reference
from vkbackend.device import Device
from vkbackend.errors import VkBackendError
from vkbackend.frontends.tflite import compare
from vkbackend.graph import Array, Quantization
from vkbackend.signature import from_host

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


def ours(network: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """An input, and every tensor by the NumPy reference."""
    graph = vkb.from_tflite(network)
    x = np.random.default_rng(3).integers(-128, 128, (1, 6, 5, 3)).astype(np.int8)
    return {"x": x}, reference.run(graph, [from_host(x, "NHWC")])


def test_all_tensors_are_equal(
    network: Path, device: Device, device_index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(network), "--against", "litert", "--device", str(device_index)]
    assert cli.main([*command, "--runs", "2"]) == 0
    assert capsys.readouterr() == (
        f"{device.info.name} and LiteRT: 2 tensors, 960 values: all equal\n",
        "",
    )
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "device": device.info.name,
        "against": "litert",
        "runs": 1,
        "tensors": 2,
        "values": 480,
        "difference": None,
    }


def test_the_first_difference_is_told(
    network: Path,
    device: Device,
    device_index: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = compare._run

    def changed(*arguments: object) -> dict[int, Array]:
        tensors = {index: array.copy() for index, array in real(*arguments).items()}  # type: ignore[arg-type]
        first, second = sorted(tensors)
        tensors[first][0, 4, 2, 7] ^= 1
        tensors[first][0, 5, 0, 0] ^= 1
        tensors[second][...] = 0
        return tensors

    monkeypatch.setattr(compare, "_run", changed)
    command = ["check", str(network), "--against", "litert", "--device", str(device_index)]
    assert cli.main([*command, "--seed", "5", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["difference"]
    assert (found["node"], found["operator"]) == ("conv_2d_0", "CONV_2D")
    assert (found["tensor"], found["index"]) == ("convolved", [0, 4, 2, 7])
    assert (found["seed"], found["wrong"], found["elements"]) == (5, 2, 240)
    assert found["ours"] ^ 1 == found["theirs"]
    assert cli.main([*command, "--seed", "5"]) == 1
    assert capsys.readouterr().out == (
        f"{device.info.name} and LiteRT first differ at CONV_2D 'conv_2d_0':\n"
        f"tensor 'convolved', element [0, 4, 2, 7] is {found['ours']}, LiteRT has "
        f"{found['theirs']}; 2 of 240 differ (seed 5)\n0 tensors before are equal\n"
    )


def test_what_is_equal_before_a_difference_is_counted(network: Path) -> None:
    inputs, tensors = ours(network)
    assert compare.first_difference(network, inputs, tensors) == compare.Comparison(2, 480, None)
    tensors["sigmoid"][0, 7, 5, 4] ^= 1
    found = compare.first_difference(network, inputs, tensors)
    assert (found.tensors, found.values) == (1, 240)
    assert found.difference is not None
    assert found.difference.index == (0, 5, 4, 7)
    # A tensor that folding has taken away is not compared.
    del tensors["convolved"]
    assert compare.first_difference(network, inputs, tensors).tensors == 0


def test_without_litert(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(VkBackendError) as caught:
        compare.first_difference(network, *ours(network))
    message = str(caught.value)
    assert message.startswith("the comparison needs LiteRT, which cannot be imported (")
    assert message.endswith("): pip install ai-edge-litert")


def test_what_litert_refuses(network: Path) -> None:
    inputs, tensors = ours(network)
    with pytest.raises(VkBackendError, match=r"net\.tflite: LiteRT cannot run this file: "):
        compare.first_difference(network, {"x": inputs["x"][:, 1:]}, tensors)
