"""Ctrl-C while candidates are measured frees what was made for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.gpu.conftest import find_device
from tests.null.networks import residual
from vkbackend.device import Device
from vkbackend.engine import Stopwatch
from vkbackend.tune import tune
from vkbackend.tuning import Tuning


@pytest.mark.parametrize("broken", ["__init__", "run", "close"])
def test_an_interruption_leaves_nothing_behind(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever Ctrl-C comes: while a candidate is recorded, runs, or is freed."""
    whole, calls = getattr(Stopwatch, broken), [0]

    def interrupted(self: Stopwatch, *arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if broken != "close" and calls[0] == 3:
            raise KeyboardInterrupt
        result = whole(self, *arguments, **options)
        if broken == "close" and calls[0] == 1:
            raise KeyboardInterrupt
        return result

    counted = ("VkBuffer", "VkCommandPool", "VkQueryPool")

    with Device.open(find_device("lavapipe")) as device:
        before = {kind: device.live_objects().get(kind, 0) for kind in counted}
        monkeypatch.setattr(Stopwatch, broken, interrupted)
        assert tune(residual(depth=1), device, Tuning(tmp_path / "tuning.sqlite")).interrupted
        assert {kind: device.live_objects().get(kind, 0) for kind in counted} == before
