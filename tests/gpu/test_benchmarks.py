"""The convolution benchmark runs, verifies what it times, and writes its files."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import conv2d, timing
from benchmarks.layers import LAYERS, PEERS, QUICK
from benchmarks.ways import Filters, choose, parse_layouts, parse_tiles
from tests.gpu.conftest import find_device
from vkbackend.costs import Costs
from vkbackend.device import Device
from vkbackend.gpu import captured


@pytest.fixture(scope="module")
def lavapipe() -> str:
    """The index, as the command line takes it."""
    return str(find_device("lavapipe"))


def test_quick_writes_numbers_and_a_picture(
    lavapipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, picture = tmp_path / "conv2d.json", tmp_path / "conv2d.png"
    files = ["--json", str(numbers), "--plot", str(picture)]
    assert conv2d.main(["--quick", "--device", lavapipe, "--layouts", "4C,4C1W", *files]) == 0
    facts = json.loads(numbers.read_text())
    assert [layer["name"] for layer in facts["layers"]] == list(QUICK)
    algorithms = [{v["algorithm"] for v in layer["variants"]} for layer in facts["layers"]]
    assert algorithms == [
        {"direct", "im2col", "implicit_gemm"},
        {"direct", "im2col", "implicit_gemm", "pointwise"},
        {"direct", "im2col", "depthwise", "depthwise_rows"},
    ]
    for layer in facts["layers"]:
        layouts = {(v["input_layout"], v["output_layout"]) for v in layer["variants"]}
        assert layouts == {("4C", "4C"), ("4C1W", "4C1W")}
        assert all(len(v["gpu_us"]) == conv2d.QUICK_SAMPLES for v in layer["variants"])
        assert min(v["over_best"] for v in layer["variants"]) == 1.0
    assert facts["device"]["name"].startswith("llvmpipe")
    assert picture.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert all(name in printed for name in QUICK)
    assert max(map(len, printed.splitlines())) <= 110


def test_a_wrong_result_stops_the_run(
    lavapipe: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(raw: Any, layout: str, shape: tuple[int, ...]) -> Any:
        return np.zeros(shape, np.int8)

    monkeypatch.setattr(timing, "unpack", broken)
    assert conv2d.main(["--quick", "--device", lavapipe]) == 1
    assert "differs from NumPy in" in capsys.readouterr().err


def test_a_plot_without_matplotlib_is_refused_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert conv2d.main(["--plot", str(tmp_path / "x.png"), "--device", "no such device"]) == 1
    assert capsys.readouterr().err == (
        'error: a plot needs matplotlib: install it with pip install "vkbackend[plot]"\n'
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "no"], "no no; there are 3-64_224_7x7_s2, "),
        (["--algorithms", "direct,magic"], "no magic; there are "),
        (["--layouts", "4W"], "a layout is one of 4C, 4C1W, 4W4C, got '4W'"),
        (["--tiles", "8"], "a tile is PIXELSxWORDS, got '8'"),
        (["--samples", "5"], "--samples is at least 30, --batch at least 1"),
    ],
)
def test_what_makes_no_sense_is_said(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        conv2d.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_the_table_has_every_layer_once() -> None:
    assert {*PEERS, *QUICK} <= LAYERS.keys()
    assert len({tuple(vars(layer).values())[1:] for layer in LAYERS.values()}) == len(LAYERS)
    networks = [layer.network for layer in LAYERS.values()]
    assert (networks.count("resnet50"), networks.count("mobilenetv2")) == (23, 30)


def test_filters_keep_what_they_name() -> None:
    (node,) = LAYERS["28-28_65_3x3"].case(1).graph().bound_nodes()
    costs = Costs(captured("adreno_660"))
    by_default = choose(node, costs, Filters())
    assert len(by_default) == 3 * 9  # direct, im2col, implicit_gemm; nine pairs of layouts
    assert {candidate.dot.value for candidate in by_default} == {"mixed"}
    layouts, tiles = parse_layouts("4C:4C1W"), parse_tiles("4x2,8x2")
    named = Filters(["direct"], layouts=layouts, tiles=tiles, best_tiles=False)
    ways = [
        (c.algorithm, c.tile, *c.input_layouts, c.output_layout) for c in choose(node, costs, named)
    ]
    assert ways == [("direct", (4, 2), "4C", "4C1W"), ("direct", (8, 2), "4C", "4C1W")]
    assert len(choose(node, costs, Filters(best_layouts=True))) == 3


def test_no_object_outlives_the_workbench(lavapipe: str) -> None:
    case = LAYERS["960-960_7_3x3_dw"].case(2)
    (node,) = case.graph().bound_nodes()
    with Device.open(int(lavapipe)) as device:
        candidates = choose(node, Costs(device.info), Filters(["depthwise"]))
        with timing.Workbench(device, node, case.arrays()[0]) as bench:
            timing.sample_in_turn([bench.add(candidate) for candidate in candidates], 2)
        assert not {"VkBuffer", "VkCommandPool", "VkQueryPool"} & device.live_objects().keys()
