"""The files that ExecuTorch itself exported: where they are, what they take and give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vkbackend import env
from vkbackend.frontends.executorch import from_executorch
from vkbackend.graph import Array, Graph

NAMES = ("chain", "convnets", "grouped", "lineartransposed", "unet", "mobilenetv2_relu")
SMALL = NAMES[:5]
# Layouts are resolved for these two: the rule asks only whether a device's name says Mali.
GPUS = {"mali": "mali_g610", "other": "adreno_750"}


def folder(name: str) -> Path:
    """One export's folder; skips the test where the reference networks are not here."""
    found = Path(env.SHARED.read()) / "executorch_exports" / name
    if not (found / "model.pte").is_file():
        pytest.skip(
            f"{found} is not here: {env.SHARED.name} names the folder of {env.SHARED.meaning}"
        )
    return found


def network(name: str) -> Graph:
    """The converted file."""
    return from_executorch(folder(name) / "model.pte")


def arrays(name: str, kind: str) -> dict[str, Array]:
    """What inputs.npz, delegate_ref.npz ... hold."""
    with np.load(folder(name) / f"{kind}.npz") as archive:
        return {key: archive[key] for key in archive}


def inputs(name: str) -> list[Array]:
    """The network's inputs, in order."""
    return list(arrays(name, "inputs").values())


def resolved(name: str, kind: str) -> dict[str, Any]:
    """What ExecuTorch resolves: layouts by tensor, and which calls of the chain use im2col."""
    found = json.loads((folder(name) / "layouts.json").read_text())[f"delegate0_{kind}"]
    return {
        "layouts": {f"v{n}": layout.removeprefix("I8_") for n, layout in found["resolved"].items()},
        "im2col": {f"q8ta_conv2d_{index}" for index in found["im2col"]},
    }
