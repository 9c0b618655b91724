"""Whole networks in the NumPy reference, every quantised tensor equal to ONNX Runtime's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.networks import NETWORKS, images, quantized
from tests.null.onnx_networks import session
from vkbackend import env, reference
from vkbackend.frontends.onnx import from_onnx

SIZE = 32
SHARED = Path(env.SHARED.read()) / "models/shufflenetv2_qdq"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor(name: str, folder: Path) -> None:
    """Each is an output, so that no later layer can hide a difference."""
    model = onnx.load(quantized(name, folder, size=64))
    names = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    for each in names:
        info = onnx.helper.make_tensor_value_info(each, onnx.TensorProto.UINT8, None)
        model.graph.output.append(info)
    image = images(1, SIZE, seed=7)
    expected = session(model).run(None, {"image": image})
    graph = from_onnx(model, shapes={"image": image.shape})
    found = reference.run(graph, {"image": image})
    assert len(graph.outputs) == len(expected) > len(names)
    for output, wanted in zip(graph.outputs, expected, strict=True):
        np.testing.assert_array_equal(found[output], wanted, err_msg=output)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared reference networks are not here")
def test_shufflenetv2() -> None:
    """From the ONNX Model Zoo: channel shuffles, splits, a mean and a bias in float."""
    graph = from_onnx(SHARED / "model.onnx")
    with np.load(SHARED / "inputs.npz") as inputs, np.load(SHARED / "outputs.npz") as outputs:
        for x, wanted in zip(inputs["x"], outputs["y_ort_all_optimisations"], strict=True):
            found = reference.run(graph, {"input": x})["output"]
            np.testing.assert_array_equal(found, wanted)
