"""The commands that need a device, on every device at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vkbackend as vkb
from vkbackend import cli
from vkbackend.commands import check, devices
from vkbackend.device import Device, list_devices
from vkbackend.device.selftest import Exactness
from vkbackend.errors import DeviceError
from vkbackend.graph import Array

DIGITS = Path(vkb.__file__).parent / "demo/digits.onnx"


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits network as a .vkb file."""
    path = tmp_path_factory.mktemp("network") / "net.vkb"
    vkb.save(vkb.from_onnx(DIGITS), path)
    return path


class Command:
    """Runs commands on one device and keeps what they print."""

    def __init__(self, index: int, capsys: pytest.CaptureFixture[str]) -> None:
        self.index = index
        self._capsys = capsys

    def run(self, name: str, *arguments: object) -> tuple[int, str]:
        """Exit code and output; nothing may stand on standard error."""
        code = cli.main([name, *map(str, arguments), "--device", str(self.index)])
        printed = self._capsys.readouterr()
        assert printed.err == ""
        return code, printed.out

    def json(self, name: str, *arguments: object) -> Any:
        """What a command that succeeds prints as JSON."""
        code, printed = self.run(name, *arguments, "--json")
        assert code == 0
        return json.loads(printed)


@pytest.fixture
def command(device_index: int, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line on each device."""
    return Command(device_index, capsys)


# -- devices --------------------------------------------------------------------------------------


def test_devices_are_listed_with_a_verdict(
    device: Device, device_index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["devices", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [entry["index"] for entry in listed] == list(range(len(list_devices())))
    entry = listed[device_index]
    assert entry["facts"] == json.loads(json.dumps(device.info.to_json()))
    assert (entry["unusable"], entry["exact"], entry["failures"]) == (None, True, [])
    assert sum(entry["default"] for entry in listed) == 1
    assert cli.main(["devices"]) == 0
    printed = capsys.readouterr().out
    assert f"\n{device_index}  {device.info.name}" in f"\n{printed}"
    assert "   arithmetic   exact: every self-test passed\n" in printed


def test_a_device_that_fails_does_not_hide_the_others(
    device_index: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Device.open

    def fail_at_one(selector: int) -> Device:
        if selector == device_index:
            raise DeviceError("opening it: VK_ERROR_INITIALIZATION_FAILED")
        return real(selector)

    monkeypatch.setattr(devices.Device, "open", fail_at_one)
    assert cli.main(["devices"]) == 0
    printed = capsys.readouterr().out
    assert "   cannot be used  opening it: VK_ERROR_INITIALIZATION_FAILED\n" in printed
    assert all(info.name in printed for info in list_devices())


def test_inexact_arithmetic_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = Exactness(False, ("plain: convert 16777217 gave 16777218",))
    monkeypatch.setattr(devices, "exactness", lambda _: verdict)
    assert cli.main(["devices"]) == 0
    assert (
        "   arithmetic   NOT exact: results may differ from other devices\n"
        "                plain: convert 16777217 gave 16777218\n"
    ) in capsys.readouterr().out


def test_an_unknown_device_is_one_message(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["check", str(network), "--device", "no such"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "vkbackend: error: no usable Vulkan device 'no such'; passed over:"
    assert len(lines) == 2 + len(list_devices())


# -- explain, run ---------------------------------------------------------------------------------


def test_explain_on_a_device(command: Command, device: Device, network: Path) -> None:
    _, printed = command.run("explain", network)
    assert printed == f"{vkb.resolve(vkb.from_onnx(DIGITS), device.info)}\n"


def random_image() -> Array:
    """An input of the digits network."""
    return np.random.default_rng(5).uniform(0, 16, (1, 1, 8, 8)).astype(np.float32)


def test_run_prints_and_writes(
    command: Command, device: Device, network: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", random_image())
    with vkb.load(network, device=device) as model:
        expected = model(random_image())
    files = ["--input", tmp_path / "x.npy", "-o", tmp_path / "y.npz"]
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcdefghij"))
    _, printed = command.run("run", network, *files, "--labels", labels, "--top", 2)
    with np.load(tmp_path / "y.npz") as written:
        np.testing.assert_array_equal(written["logits"], expected)
    best, second = np.argsort(-expected[0], kind="stable")[:2]
    powers = np.exp(expected[0].astype(np.float64) - expected.max())
    chances = powers / powers.sum()
    assert printed == (
        f"logits: float32[1, 10], {expected.min():.6g} to {expected.max():.6g}\n"
        f"  {best:>5}  {expected[0, best]:>10.6g}  {chances[best]:>7.2%}  {'abcdefghij'[best]}\n"
        f"  {second:>5}  {expected[0, second]:>10.6g}  {chances[second]:>7.2%}  "
        f"{'abcdefghij'[second]}\n"
    )
    # Without labels nothing says that these are logits.
    _, printed = command.run("run", network, *files[:2], "--top", 1)
    assert printed.splitlines()[1] == f"  {best:>5}  {expected[0, best]:>10.6g}"


def test_run_on_an_image_with_another_gpus_plan(
    command: Command, network: Path, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image").fromarray(np.full((20, 30, 3), 200, np.uint8))
    image.save(tmp_path / "x.png")
    arguments = ["--image", tmp_path / "x.png", "--gpu", "mali_g52", "--scale", 16 / 255]
    here = command.json("run", network, *arguments[:2], *arguments[4:])
    assert command.json("run", network, *arguments) == here
    assert here["logits"]["shape"] == [1, 10]
    assert len(here["logits"]["top"]) == 5


def test_run_on_a_wrong_array(
    network: Path, device_index: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((8, 8)))
    arguments = ["--input", str(tmp_path / "x.npy"), "--device", str(device_index)]
    assert cli.main(["run", str(network), *arguments]) == 1
    assert capsys.readouterr().err == (
        "vkbackend: error: input 'image' is float32[1, 1, 8, 8] NCHW, got float64[8, 8]\n"
    )


# -- check, bench ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["auto", "executorch"])
def test_check_finds_every_value_equal(
    command: Command, device: Device, network: Path, policy: str
) -> None:
    code, printed = command.run("check", network, "--policy", policy, "--runs", 2)
    assert code == 0
    nodes = 15 if policy == "auto" else 17  # two sums run in their convolutions' kernels
    assert printed.startswith(f"{device.info.name}: {nodes} nodes, ")
    assert printed.endswith(" values: all equal\n")
    assert command.json("check", network, "--gpu", "adreno_750")["differences"] == []


def test_check_tells_where_a_device_differs(
    command: Command, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: Any) -> dict[str, Array]:
        tensors = vkb.reference.run(*arguments)
        tensors["stem_QuantizeLinear_Output"][0, 3, 2, 1] ^= 1
        return tensors

    class Reference:
        run = staticmethod(wrong)

    monkeypatch.setattr(check, "reference", Reference)
    code, printed = command.run("check", network, "--seed", 7)
    assert code == 1
    first, last = printed.splitlines()
    assert first.startswith("conv2d 'stem': stem_QuantizeLinear_Output in 4")
    assert ": element [0, 3, 2, 1] is " in first
    assert first.endswith("; 1 of 2,048 differ (seed 7)")
    assert last.endswith(": 1 tensors differ")


def test_bench_measures(command: Command, network: Path, device: Device) -> None:
    facts = command.json("bench", network, "--runs", 30)
    assert facts["device"] == device.info.name
    assert facts["runs"] == 30
    assert facts["activation_bytes"] <= facts["device_memory_bytes"]
    assert 0 < facts["call_us"]["low"] <= facts["call_us"]["median"] <= facts["call_us"]["high"]
    if facts["steps"] is not None:
        assert {step["node"] for step in facts["steps"]} >= {"stem", "classifier"}
        assert facts["gpu_us"]["median"] > 0


def test_bench_prints_a_table(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", str(network), "--runs", "30"]) == 0
    printed = capsys.readouterr().out
    assert "15 nodes, " in printed.splitlines()[0]
    assert max(map(len, printed.splitlines()[1:])) <= 120  # the first line holds the path
    for word in ("load again", "call", "memory"):
        assert f"\n  {word} " in printed
