"""ONNX networks, quantised with QuantizeLinear/DequantizeLinear pairs or QLinear operators.

`reader` turns the file into typed records, `handlers` holds one function per operator type,
`qdq` folds float operators between DequantizeLinear and QuantizeLinear into quantised ones.
The arithmetic is ONNX Runtime's: quant/onnxruntime.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vkbackend.errors import InputError
from vkbackend.frontends.onnx.convert import convert
from vkbackend.frontends.onnx.reader import read
from vkbackend.graph import Graph

if TYPE_CHECKING:
    import onnx

__all__ = ["from_onnx"]


def from_onnx(
    path_or_model: str | os.PathLike[str] | onnx.ModelProto,
    *,
    batch_size: int = 1,
    outputs: Sequence[str] | None = None,
) -> Graph:
    """A quantised ONNX network as a Graph with dynamic layouts, inputs and outputs NCHW.

    A symbolic first dimension of an input becomes `batch_size`. `outputs` cuts the network: names
    of the tensors to compute instead of the file's outputs. Results equal ONNX Runtime's int8
    kernels in every bit, except where it runs an operator in float: a convolution with a Clip or
    a Relu that changes anything, or whose tensors are of different types.

    Raises FormatError on a damaged file, UnsupportedError that lists every node that cannot be
    converted and names the tensors to cut at, InputError on a wrong argument, VkBackendError
    without the onnx package, and OSError where the file cannot be opened.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size is a whole number of at least 1, got {batch_size!r}")
    if isinstance(outputs, str):
        raise InputError(f"outputs is a list of tensor names, got the text {outputs!r}")
    return convert(read(path_or_model), batch_size, outputs)
