"""Whole networks on a device, equal to ONNX Runtime in every bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.networks import NETWORKS, images, quantized
from tests.null.onnx_networks import session
from vkbackend import env
from vkbackend.device import Device
from vkbackend.frontends.onnx import from_onnx
from vkbackend.gpu import Family
from vkbackend.graph import Array
from vkbackend.runtime import load

CALIBRATED = 64  # one quantised file serves all sizes
SHARED = Path(env.SHARED.read()) / "models/shufflenetv2_qdq"


def expected_of(path: Path, image: Array) -> Array:
    """What ONNX Runtime's int8 kernels give."""
    result: Array = session(onnx.load(path)).run(None, {"image": image})[0]
    return result


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str, folder: Path, device: Device) -> None:
    # Images of 224 x 224 take SwiftShader minutes.
    size = 64 if device.info.family is Family.SWIFTSHADER else 224
    path = quantized(name, folder, size=CALIBRATED)
    image = images(1, size, seed=9)
    with load(from_onnx(path, shapes={"image": image.shape}), device=device) as model:
        np.testing.assert_array_equal(model(image), expected_of(path, image))


@pytest.mark.parametrize("name", ["mobilenetv2", "unet"])
def test_one_model_at_every_size(
    name: str, folder: Path, device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """Three batch sizes and two resolutions give what separate exports give; each is announced."""
    if name == "mobilenetv2" and device.info.family is Family.SWIFTSHADER:
        pytest.skip("one network is enough where each takes long")
    path = quantized(name, folder, size=CALIBRATED)
    with load(from_onnx(path), device=device) as model:
        for batch, size in ((1, 32), (3, 32), (2, 64), (3, 32)):
            image = images(batch, size, seed=batch)
            expected = expected_of(path, image)
            np.testing.assert_array_equal(model(image), expected)
            with load(from_onnx(path, shapes={"image": image.shape}), device=device) as own:
                np.testing.assert_array_equal(own(image), expected)
    assert caplog.messages == [
        f"new input shape, image {shape}: making a plan for it"
        for shape in ([1, 3, 32, 32], [3, 3, 32, 32], [2, 3, 64, 64])
    ]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared reference networks are not here")
def test_shufflenetv2(device: Device) -> None:
    if device.info.family is Family.SWIFTSHADER:
        pytest.skip("images of 224 x 224 take SwiftShader minutes")
    with (
        np.load(SHARED / "inputs.npz") as inputs,
        np.load(SHARED / "outputs.npz") as outputs,
        load(from_onnx(SHARED / "model.onnx"), device=device) as model,
    ):
        for x, wanted in zip(inputs["x"], outputs["y_ort_all_optimisations"], strict=True):
            np.testing.assert_array_equal(model(x), wanted)
