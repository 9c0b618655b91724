"""ONNX networks, quantised with QuantizeLinear/DequantizeLinear pairs or QLinear operators.

`reader` turns the file into typed records, `handlers` holds one function per operator type,
`qdq` folds float operators between DequantizeLinear and QuantizeLinear into quantised ones.
The arithmetic is ONNX Runtime's: quant/onnxruntime.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
    shapes: Mapping[str, Sequence[int]] | None = None,
    outputs: Sequence[str] | None = None,
) -> Graph:
    """A quantised ONNX network as a Graph with dynamic layouts, inputs and outputs NCHW.

    A symbolic first dimension of an input becomes `batch_size`, other symbolic ones become 224;
    `shapes` says otherwise, by input. A loaded model takes every size that the network allows.
    `outputs` cuts the network: names of the tensors to compute instead of the file's outputs.

    Results equal ONNX Runtime's int8 kernels in every bit, except where it runs a whole convolution
    or matrix product in float: with a Clip or a Relu behind it that changes anything, with tensors
    of different types, and ConvTranspose always. Operators that it runs in float between
    DequantizeLinear and QuantizeLinear follow its float formulas in every bit, and a linear Resize
    of bytes does, where ONNX Runtime has another kernel for images with channels last. What stays
    float at the end of the network is computed in float32, close to ONNX Runtime.

    Raises FormatError on a damaged file, UnsupportedError that lists every node that cannot be
    converted and names the tensors to cut at, InputError on a wrong argument, VkBackendError
    without the onnx package, and OSError where the file cannot be opened.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size is a whole number of at least 1, got {batch_size!r}")
    if isinstance(outputs, str):
        raise InputError(f"outputs is a list of tensor names, got the text {outputs!r}")
    return convert(read(path_or_model), batch_size, outputs, shapes or {})
