"""ONNX Runtime on the CPU, set up to compute int8 exactly: what the demo compares with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vkbackend.errors import VkBackendError
from vkbackend.graph import Array

# The first keeps int8 networks out of float arithmetic, the second keeps products of uint8 and
# int8 from saturating on CPUs without a dot product.
EXACT: Mapping[str, str] = {
    "session.qdqisint8allowed": "1",
    "session.x64quantprecision": "1",
}
ERRORS_ONLY = 3


def run_each(path: Path, images: Array) -> Array:
    """The first output of a network for each image, one call each, in one thread.

    Raises VkBackendError without ONNX Runtime.
    """
    try:
        runtime: Any = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise VkBackendError(
            f"the comparison needs ONNX Runtime, which cannot be imported ({error}): "
            'pip install "vkbackend[demo]"'
        ) from None
    options = runtime.SessionOptions()
    for name, value in EXACT.items():
        options.add_session_config_entry(name, value)
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[np.newaxis]})[0] for image in images])
