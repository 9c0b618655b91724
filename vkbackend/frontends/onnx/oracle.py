"""ONNX Runtime on the CPU, set up to compute in int8 what can be: the bits that ours equal."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vkbackend.errors import VkBackendError
from vkbackend.frontends.onnx.reader import import_onnx
from vkbackend.graph import Array

if TYPE_CHECKING:
    import onnx

# The first keeps int8 networks out of float arithmetic, the second keeps products of uint8 and
# int8 from saturating on CPUs without a dot product. With int8 activations ONNX Runtime has no
# kernel for what the second makes of the weights.
INT8_KERNELS = {"session.qdqisint8allowed": "1"}
NO_SATURATION = {"session.x64quantprecision": "1"}
_ERRORS_ONLY = 3


def session(model: onnx.ModelProto, source: str = "the ONNX model", *, fuse: bool = True) -> Any:
    """An InferenceSession of one thread. `fuse` stands for all graph optimisations.

    Without them QDQ networks stay in float. Raises VkBackendError without ONNX Runtime, and where
    it cannot run the model, of which messages say that it is `source`.
    """
    runtime = _import_onnxruntime()
    options = runtime.SessionOptions()
    levels = runtime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fuse else levels.ORT_ENABLE_BASIC
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    for name, value in (INT8_KERNELS | ({} if _has_int8(model) else NO_SATURATION)).items():
        options.add_session_config_entry(name, value)
    try:
        return runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its kinds of error are not public
        raise _refusal(source, error) from None


def run(
    model: onnx.ModelProto, inputs: Mapping[str, Array], names: Sequence[str], source: str
) -> dict[str, Array]:
    """These tensors of the network, by name, whether they are outputs or not.

    Raises VkBackendError without ONNX Runtime, and where it cannot run the model on the inputs.
    """
    library = import_onnx()
    opened = library.ModelProto()
    opened.CopyFrom(model)
    stated = {info.name for info in model.graph.output}
    infos = (library.helper.make_empty_tensor_value_info(n) for n in names if n not in stated)
    opened.graph.output.extend(infos)
    computes = session(opened, source)
    try:
        results = computes.run(list(names), dict(inputs))
    except Exception as error:  # its kinds of error are not public
        raise _refusal(source, error) from None
    return dict(zip(names, results, strict=True))


def run_each(path: Path, images: Array) -> Array:
    """The first output of a network for each image, one call each. Raises VkBackendError."""
    computes = session(import_onnx().load(path), str(path))
    name = computes.get_inputs()[0].name
    return np.concatenate([computes.run(None, {name: image[np.newaxis]})[0] for image in images])


def _import_onnxruntime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise VkBackendError(
            f"the comparison needs ONNX Runtime, which cannot be imported ({error}): "
            'pip install "vkbackend[demo]"'
        ) from None


def _refusal(source: str, error: Exception) -> VkBackendError:
    return VkBackendError(f"{source}: ONNX Runtime cannot run it: {' '.join(str(error).split())}")


def _has_int8(model: onnx.ModelProto) -> bool:
    """Whether activations are int8: zero points of inputs or of QuantizeLinear nodes are."""
    int8 = import_onnx().TensorProto.INT8
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    types |= {info.name: info.type.tensor_type.elem_type for info in model.graph.input}
    zeros = [n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[2:]]
    zeros += [info.name for info in model.graph.input]
    return any(types.get(name) == int8 for name in zeros)
