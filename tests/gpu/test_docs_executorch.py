"""docs/executorch.md: its commands, one after another, where ExecuTorch is installed."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/executorch.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NEEDED = ("torch", "torchao", "executorch")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


def run(arguments: list[str], folder: Path) -> str:
    """What a Python process prints; it finds this package, and need not be quick."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_no_block_is_overlooked() -> None:
    languages = [language for language, _ in BLOCKS]
    assert languages == ["sh", "python", "console", "python"]
    assert len(languages) == PAGE.count("\n```") / 2


@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)}: see docs/executorch.md")
def test_every_command_runs(tmp_path: Path) -> None:
    _, (_, export), (_, console), (_, script) = BLOCKS
    (tmp_path / "export.py").write_text(export)
    run(["export.py"], tmp_path)
    for line in console.splitlines():
        name, *arguments = shlex.split(line.removeprefix("$ "))
        assert name == "vkbackend"
        run(["-m", name, *arguments], tmp_path)
    printed = run(["-c", script], tmp_path)
    difference, greatest = map(float, re.findall(r"[\d.e-]+", printed.partition(":")[2]))
    assert difference <= 0.05 * greatest
    with np.load(tmp_path / "outputs.npz") as outputs:
        assert outputs["out0"].shape == np.load(tmp_path / "y.npy").shape
