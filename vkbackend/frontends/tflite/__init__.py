"""TensorFlow Lite networks, quantised to int8 or uint8.

`reader` turns the file into typed records, `handlers` holds one function per operator type,
`views` describes reshapes, transposes and slices without computing them. The arithmetic is that of
LiteRT's reference kernels: quant/tflite*.py and quant/requantize_fixed.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from vkbackend.errors import InputError
from vkbackend.frontends.tflite.convert import convert
from vkbackend.frontends.tflite.reader import read
from vkbackend.graph import Graph

__all__ = ["from_tflite"]


def from_tflite(
    path_or_bytes: str | os.PathLike[str] | bytes, *, outputs: Sequence[str] | None = None
) -> Graph:
    """A quantised .tflite network as a Graph with dynamic layouts, inputs and outputs NHWC.

    `outputs` cuts the network: names of the tensors to compute instead of the file's outputs.
    Results equal LiteRT's reference kernels (OpResolverType.BUILTIN_REF) in every bit.

    Raises FormatError on a damaged file, UnsupportedError that lists every operator that cannot be
    converted, with its place, and names the tensors to cut at, InputError on a wrong argument,
    VkBackendError without the tflite package, and OSError where the file cannot be opened.
    """
    if isinstance(outputs, str):
        raise InputError(f"outputs is a list of tensor names, got the text {outputs!r}")
    return convert(read(path_or_bytes), outputs)
