"""Kernels on cooperative matrices give the reference's bits on the newest lavapipe, in its root."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from vkbackend.errors import DeviceError
from vkbackend.vendor import DRIVERS, command, environment

ROOT = Path(__file__).parents[2]


def test_every_candidate_is_exact() -> None:
    driver = DRIVERS["lavapipe"]
    try:
        python, variables = command(driver), environment(driver)
    except DeviceError:
        pytest.skip("the newest lavapipe is not in .tools/vendor: run `make modern-lavapipe`")
    variables["PYTHONPATH"] += f":{ROOT}"
    found = subprocess.run(
        [*python, "-m", "tests.gpu.cooperative_matrices"],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert [answer for answer in answers if answer["wrong"]] == []
    tried = dict.fromkeys(("int8", "float16"), 0)
    for answer in answers:
        tried[answer["element"]] += answer["tried"]
    assert tried["int8"] > 40
    assert tried["float16"] >= 6
