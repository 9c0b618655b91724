"""Every example in README.md runs, and prints what the page shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vkbackend.frontends.executorch.handlers import HANDLERS as executorch_handlers  # noqa: N811
from vkbackend.frontends.onnx.handlers import HANDLERS as onnx_handlers  # noqa: N811
from vkbackend.frontends.tflite.handlers import HANDLERS as tflite_handlers  # noqa: N811

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def masked(text: str) -> list[str]:
    """Lines with their decimal numbers hidden: times and costs change."""
    return re.sub(r"\d+\.\d+", "#", text).splitlines()


def run_console(block: str, folder: Path) -> None:
    """Runs each command; lines below it must be among what it prints, `...` stands for others."""
    # What is tuned here must not decide what other tests load.
    environment = {**os.environ, "VKBACKEND_CACHE_DIR": str(folder / "cache")}
    for part in block.split("$ ")[1:]:
        line, _, shown = part.partition("\n")
        name, *arguments = shlex.split(line)
        assert name == "vkbackend", line
        done = subprocess.run(
            [sys.executable, "-m", name, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, f"$ {line}\n{done.stderr}"
        printed = masked(done.stdout)
        for wanted in masked(shown):
            assert wanted in (*printed, "...", ""), (
                f"README.md shows a line that `{line}` does not print: {wanted}\n{done.stdout}"
            )


def test_every_example_runs(tmp_path: Path) -> None:
    (tmp_path / "vkbackend").symlink_to(ROOT / "vkbackend", target_is_directory=True)
    script = "".join(block for language, block in BLOCKS if language == "python")
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    for language, block in BLOCKS:
        if language == "console":
            run_console(block, tmp_path)


def test_no_block_is_overlooked() -> None:
    languages = [language for language, _ in BLOCKS]
    assert len(languages) == README.count("\n```") / 2
    assert languages.count("console") >= 2
    assert languages.count("python") >= 2
    assert set(languages) == {"console", "python", "sh"}


def test_the_page_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= 150
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    "handlers",
    [onnx_handlers, tflite_handlers, executorch_handlers],
    ids=["onnx", "tflite", "executorch"],
)
def test_every_operator_is_told(handlers: dict[str, object]) -> None:
    names = {table_name(name) for name in handlers}
    assert sorted(name for name in names if not re.search(rf"\b{name}\b", README)) == []


def table_name(operator: str) -> str:
    """What the table calls it: QLinearConv and q8ta_conv2d_pw stand with Conv and q8ta_conv2d."""
    name = re.sub("^(QLinear|Q(?=Gemm))", "", operator).rpartition(".")[2].removeprefix("_")
    forms = "copy|pw|dw|transposed|general|im2col|gemv|with_indices"
    return re.sub(f"_({forms})$", "", name)


def test_the_number_of_captured_gpus_is_told() -> None:
    count = len(list((ROOT / "vkbackend/gpus").glob("*.json")))
    assert f"The facts of {count} GPUs" in README
