"""Copies on queues of their own, with the driver of a GPU that has such queues."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from vkbackend.engine import RING_DEPTH
from vkbackend.vendor import DRIVERS, command, environment

pytestmark = pytest.mark.vendors

ROOT = Path(__file__).parents[2]


def test_a_discrete_gpu_uploads_computes_and_downloads_on_three_queues() -> None:
    driver = DRIVERS["radv"]
    variables = environment(driver)
    variables[driver.variable] = "navi31"
    variables["PYTHONPATH"] = f"{ROOT}:{variables['PYTHONPATH']}"
    found = subprocess.run(
        [*command(driver), "-m", "tests.vendors.ring"],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert answer["families"] == {"compute": 0, "upload": 1, "download": 1}
    assert answer["queues"] == 3
    assert answer["outputs"] == 1
    assert answer["live"]["VkSemaphore"] == 2 * RING_DEPTH
    assert not {"VkSemaphore", "VkFence", "VkCommandPool"} & answer["left"].keys()
