"""`vkbackend export` of a .tflite file: what it made, and what became part of other nodes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tflite_builder import TfliteBuilder
from vkbackend import cli
from vkbackend.commands import text
from vkbackend.graph import Quantization

pytest.importorskip("tflite")

Q = Quantization(0.05, -7)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pad that belongs to the convolution behind it, and a maximum."""
    monkeypatch.chdir(tmp_path)
    file = TfliteBuilder()
    x = file.tensor((1, 6, 5, 3), Q, name="x")
    pads = file.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    padded = file.tensor((1, 8, 7, 3), Q, name="padded")
    weights = file.constant(np.ones((8, 3, 3, 3), np.int8), np.full(8, 0.01, np.float32))
    bias = file.constant(np.zeros(8, np.int32), np.full(8, 0.0005, np.float32))
    convolved = file.tensor((1, 6, 5, 8), Q, name="convolved")
    pooled = file.tensor((1, 3, 2, 8), Q, name="pooled")
    valid = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    pool = {"Padding": 1, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    file.operator("PAD", [x, pads], padded)
    file.operator("CONV_2D", [padded, weights, bias], convolved, "Conv2DOptions", **valid)
    file.operator("MAX_POOL_2D", [convolved], pooled, "Pool2DOptions", **pool)
    Path("net.tflite").write_bytes(file.build([x], [pooled]))
    return Path("net.tflite")


def test_it_prints_what_it_made(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", str(network)]) == 0
    assert capsys.readouterr().out == (
        f"net.vkb: {text.size(Path('net.vkb').stat().st_size)}\n"
        "  input          x: int8[1, 6, 5, 3] NHWC\n"
        "  output         pooled: int8[1, 3, 2, 8] NHWC\n"
        "  operators      1 conv2d, 1 max_pool\n"
        "  folded         1 PAD into other nodes\n"
        "  parameters     224\n"
        f"  multiply-adds  {6 * 5 * 8 * 27:,}\n"
        "  activations    330 bytes at the peak, before packing and scratch\n"
    )


def test_what_is_cut_off_is_not_folded(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", str(network), "--outputs", "convolved"]
    assert cli.main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["operators"] == {"conv2d": 1}
    assert facts["folded"] == {"PAD": 1}
