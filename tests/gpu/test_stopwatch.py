"""Timing a plan on the device's own clock: several runs in one submission."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.null.networks import residual
from vkbackend.device import Device
from vkbackend.engine import BURST_RUNS, Engine, Stopwatch
from vkbackend.random_inputs import random_inputs
from vkbackend.runtime import load


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize(("burst_s", "repeats"), [(3600.0, [1, BURST_RUNS]), (0, [1])])
def test_a_burst_is_one_submission(
    burst_s: float,
    repeats: list[int],
    per_step: bool,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorded, real = [], Engine.timed_slot

    def counted(self: Engine, *arguments: Any, repeats: int = 1, **options: Any) -> Any:
        recorded.append(repeats)
        return real(self, *arguments, repeats=repeats, **options)

    monkeypatch.setattr(Engine, "timed_slot", counted)
    graph = residual(depth=1, size=8)
    with load(graph, device=device) as model:
        buffers = device.live_objects()["VkBuffer"]
        inputs = random_inputs(graph, seed=0)
        stopwatch = Stopwatch(model.engine, inputs, per_step=per_step, burst_s=burst_s)
        with contextlib.closing(stopwatch):
            times = stopwatch.run()
            assert recorded == repeats
            assert times is not None
            assert len(times) == (len(model.plan.steps) if per_step else 1)
            assert sum(times) > 0
        assert device.live_objects()["VkBuffer"] == buffers
