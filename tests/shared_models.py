"""Pretrained networks with inputs and expected outputs, which are too large for the repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vkbackend import env
from vkbackend.graph import Array

CHECKOUT = Path(__file__).parent.parent


@dataclass(frozen=True)
class SharedModel:
    """A file, and one input per row with the output that LiteRT's reference kernels give."""

    path: Path
    inputs: Array
    outputs: Array


def shared_model(name: str) -> SharedModel:
    """A TensorFlow Lite network of the shared folder; skips the test where it is not there."""
    folder = (CHECKOUT / env.SHARED.read()).resolve() / "models" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here: set {env.SHARED.name} to the folder of networks")
    with np.load(folder / "inputs.npz") as inputs, np.load(folder / "outputs.npz") as outputs:
        return SharedModel(folder / "model.tflite", inputs["x"], outputs["y"])
