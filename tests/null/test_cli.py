"""The command line where no device is needed: exporting, explaining, and every message."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import vkbackend
from vkbackend import cli
from vkbackend.commands import COMMANDS, explain, text
from vkbackend.gpu import captured_names

DIGITS = Path(vkbackend.__file__).parent / "demo/digits.onnx"
WITHOUT_VULKAN = (
    "import sys; sys.modules['vulkan'] = None; from vkbackend.cli import main; sys.exit(main())"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the digits network in it."""
    (tmp_path / "net.onnx").write_bytes(DIGITS.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> int:
    """Runs a command line, given as one text; returns its exit code."""
    return cli.main(command.split())


def error_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that fails with exit code 1 prints, all of it on standard error."""
    assert run(command) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def usage_error_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The last line of what a wrong command line prints; the exit code is 2."""
    with pytest.raises(SystemExit) as caught:
        run(command)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


# -- export and explain ---------------------------------------------------------------------------


def test_export_prints_what_it_made(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "net.onnx", "-o", "made.vkb"]) == 0
    size = text.size((folder / "made.vkb").stat().st_size)
    assert capsys.readouterr().out == (
        f"made.vkb: {size}\n"
        "  input          image: float32[1, 1, 8, 8] NCHW\n"
        "  output         logits: float32[1, 10]\n"
        "  operators      9 conv2d, 2 binary, 1 quantize, 1 max_pool, 1 global_average_pool, "
        "1 reshape, 1 linear, 1 dequantize\n"
        "  folded         35 DequantizeLinear, 15 QuantizeLinear into other nodes\n"
        "  parameters     31,434\n"
        "  multiply-adds  581,056\n"
        "  activations    6.0 KiB at the peak, before packing and scratch\n"
    )


def test_export_as_json_names_the_file_after_the_network(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "net.onnx", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["file"] == "net.vkb"
    assert facts["file_size_bytes"] == (folder / "net.vkb").stat().st_size
    assert facts["operators"]["conv2d"] == 9


def test_export_of_a_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "net.onnx", "--outputs", "stem_QuantizeLinear_Output"]) == 0
    output = "  output         stem_QuantizeLinear_Output: uint8[1, 32, 8, 8] NCHW\n"
    assert output in capsys.readouterr().out


def test_explain_without_a_vulkan_loader(folder: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_VULKAN, "explain", "net.onnx", "--gpu", "mali_g610"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    title, header, *rows = done.stdout.splitlines()
    assert title.startswith("plan for Mali-G610 MC4 (mali), policy auto: 15 nodes, ")
    assert header.split()[:5] == ["node", "operator", "algorithm", "layouts", "output"]
    assert len(rows) >= 15


@pytest.mark.parametrize("arguments", ["devices", "explain net.onnx", "check net.onnx"])
def test_a_device_without_a_vulkan_loader(folder: Path, arguments: str) -> None:
    command = [sys.executable, "-c", WITHOUT_VULKAN, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "vkbackend: error: the Python package 'vulkan' is not installed: pip install vulkan\n"
    )


def test_explain_why_and_forced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = "explain net.onnx --gpu adreno_750 --why --force stem:im2col:4C:4C"
    assert run(command) == 0
    printed = capsys.readouterr().out
    assert "\nstem: conv2d im2col" in printed
    assert "  not pointwise: needs a 1x1 kernel without padding, got 3x3\n" in printed


def test_explain_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain net.onnx --gpu adreno_750 --policy executorch --json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["policy"] == "executorch"
    assert {step["node"] for step in plan["steps"]} >= {"stem", "classifier"}


def test_explain_takes_a_gpu_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = Path(vkbackend.__file__).parent / "gpus/mali_g52.json"
    (folder / "mine.json").write_text(facts.read_text())
    assert run("explain net.onnx --gpu mine.json") == 0
    assert capsys.readouterr().out.startswith("plan for Mali-G52 MC4 (mali)")


def test_captured_gpus_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices", "--captured"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == captured_names()
    assert cli.main(["devices", "--captured", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == captured_names()


# -- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("explain gone.vkb --gpu mali_g610", "gone.vkb does not exist"),
        ("explain gone.onnx --gpu mali_g610", "gone.onnx: No such file or directory"),
        (
            "export net.txt",
            "net.txt: a network to export is a file that ends in .onnx, .tflite or .pte",
        ),
        (
            "export net.pte --batch-size 2",
            "net.pte: the batch size cannot be set for a .pte file",
        ),
        (
            "export net.tflite --batch-size 2",
            "net.tflite: the batch size cannot be set for a .tflite file",
        ),
        (
            "check net.onnx --against litert",
            "net.onnx: --against litert needs the .tflite file that the network was exported from",
        ),
        (
            "explain net.onnx --gpu mali",
            "no captured GPU 'mali': give a .json file or one of " + ", ".join(captured_names()),
        ),
        (
            "explain net.onnx --gpu mali_g610 --force pool:direct",
            "max_pool 'pool': direct is not an algorithm of max_pool; forced by "
            'force="pool:direct": drop it or use "pool:window"',
        ),
        (
            "export net.onnx --batch-size 2",
            "net.onnx: input 'image' has shape [1, 1, 8, 8]: the file fixes its batch at 1, "
            "batch_size=2 was asked for; export it with a symbolic batch, or leave batch_size out",
        ),
    ],
)
def test_errors_are_one_line(
    folder: Path, command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of(command, capsys) == f"vkbackend: error: {message}\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "vkbackend: error: the following arguments are required: COMMAND"),
        ("explain", "vkbackend explain: error: the following arguments are required: NETWORK"),
        (
            "explain net.vkb --gpu mali_g610 --device 0",
            "vkbackend explain: error: argument --device: not allowed with argument --gpu",
        ),
        (
            "export net.onnx --batch-size 0",
            "vkbackend export: error: argument --batch-size: a whole number of at least 1, got '0'",
        ),
        (
            "bench net.vkb --runs 3",
            "vkbackend bench: error: argument --runs: a whole number of at least 30, got '3'",
        ),
        (
            "run net.vkb --input x.png --mean a,b",
            "vkbackend run: error: argument --mean: numbers separated by commas, got 'a,b'",
        ),
    ],
)
def test_wrong_usage(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error_of(command, capsys) == message


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "-h"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "--json" in printed
    assert f"  vkbackend {name}" in printed.partition("\nexample")[2]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"vkbackend {vkbackend.__version__}\n"


def test_an_interrupt_is_quiet(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(explain, "resolve", interrupt)
    assert run("explain net.onnx --gpu mali_g610") == 130
    assert capsys.readouterr() == ("", "")


def test_warnings_are_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warn(*_: Any, **__: Any) -> str:
        warnings.warn("not exact", RuntimeWarning, stacklevel=1)
        return "the plan"

    monkeypatch.setattr(explain, "resolve", warn)
    assert run("explain net.onnx --gpu mali_g610") == 0
    assert capsys.readouterr() == ("the plan\n", "vkbackend: warning: not exact\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_closed_pipe_is_quiet(folder: Path) -> None:
    command = [sys.executable, "-m", "vkbackend", "devices", "--captured", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


def test_the_module_runs_as_a_program(folder: Path) -> None:
    command = [sys.executable, "-m", "vkbackend", "--version"]
    environment = {**os.environ, "PYTHONPATH": str(Path(vkbackend.__file__).parent.parent)}
    printed = subprocess.check_output(command, text=True, env=environment)
    assert printed == f"vkbackend {vkbackend.__version__}\n"
