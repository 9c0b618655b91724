"""The digits network: every GPU's plan, run here, gives ONNX Runtime's bits for all the scans."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from vkbackend import fileformat
from vkbackend.demo import digits_data
from vkbackend.device import Device
from vkbackend.frontends.onnx import from_onnx
from vkbackend.gpu import Family
from vkbackend.graph import Array, Graph
from vkbackend.resolve import resolve
from vkbackend.runtime import load

NETWORK = Path(fileformat.__file__).parent / "demo/digits.onnx"


@functools.cache
def expected() -> tuple[Array, Array]:
    """Held-out scans, and the logits of ONNX Runtime's int8 kernels."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(NETWORK), options, ["CPUExecutionProvider"])
    images = digits_data.load().test_images
    logits = [session.run(None, {"image": image[None]})[0][0] for image in images]
    return images, np.stack(logits)


@functools.cache
def batched(images: int) -> Graph:
    graph = from_onnx(NETWORK)
    return graph.with_shapes({"image": (images, 1, 8, 8)})


@pytest.mark.parametrize("policy", ["auto", "executorch"])
@pytest.mark.parametrize("gpu", [None, "mali_g610", "mali_g52", "adreno_660", "adreno_750"])
def test_every_plan_gives_the_bits_of_onnx_runtime(
    gpu: str | None, policy: str, device: Device
) -> None:
    images, logits = expected()
    count = 40 if device.info.family is Family.SWIFTSHADER else len(images)
    with load(batched(count), device=device, gpu=gpu, policy=policy) as model:
        np.testing.assert_array_equal(model(images[:count]), logits[:count])


def test_the_plans_of_a_mali_and_an_adreno_differ_where_convolutions_are_grouped() -> None:
    graph = from_onnx(NETWORK)
    mali, adreno = (
        {s.node.name: s.choice.candidate.algorithm for s in resolve(graph, gpu).steps}
        for gpu in ("mali_g610", "adreno_750")
    )
    assert (mali["block1.grouped"], adreno["block1.grouped"]) == ("im2col", "direct")
