"""ExecuTorch programs for its Vulkan delegate (.pte), and the delegate's blobs.

`flat` reads flatbuffers with every offset checked; `program`, `delegate` and `segments` turn them
into typed records; `handlers` holds one function per operator; `islands` folds float operators
between dequantise and quantise into int8 ones. The arithmetic is quant/requantize_executorch.py
and quant/executorch.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vkbackend.errors import InputError
from vkbackend.frontends.executorch.convert import convert
from vkbackend.frontends.executorch.flat import Blob, import_flatbuffers
from vkbackend.frontends.executorch.program import read
from vkbackend.graph import Graph

__all__ = ["from_executorch"]

Source = str | os.PathLike[str] | bytes | bytearray | memoryview


def from_executorch(
    path_or_bytes: Source,
    *,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    method: str | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    outputs: Sequence[str] | None = None,
) -> Graph:
    """A program (.pte) or a delegate's blob as a Graph; inputs are in0, in1 ..., outputs out0 ....

    Tensors keep the layouts that the file gives them as preferences; those that it leaves dynamic
    stay so. `data` are .ptd files with constants outside of the program (those beside the program
    are found); `method` is forward unless said otherwise; `input_shapes` are sizes within the
    bounds of a program exported with dynamic shapes. `outputs` cuts the network: names of tensors
    to compute instead, v and the number of the delegate's value. Results are those of the
    `executorch` requantisation, which ExecuTorch's runtime gives where its device fuses nothing.

    Raises FormatError on a damaged file, UnsupportedError that lists every operator that cannot be
    converted, InputError on a wrong argument, VkBackendError without the flatbuffers package, and
    OSError where a file cannot be opened.
    """
    if isinstance(outputs, str):
        raise InputError(f"outputs is a list of tensor names, got the text {outputs!r}")
    import_flatbuffers()
    files = [data] if isinstance(data, str | os.PathLike) else list(data)
    paths = [Path(file) for file in files]
    if isinstance(path_or_bytes, bytes | bytearray | memoryview):
        blob = Blob(memoryview(path_or_bytes).cast("B"), "the ExecuTorch program")
    else:
        path = Path(path_or_bytes)
        blob = Blob(memoryview(path.read_bytes()), str(path))
        paths += sorted(path.resolve().parent.glob("*.ptd"))
    program = read(blob, paths, method)
    shapes = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    known = [f"in{index}" for index in range(len(program.inputs))]
    for name in shapes.keys() - set(known):
        raise InputError(f"{blob.name} has no input {name!r}; it has {', '.join(known)}")
    return convert(program, shapes, outputs)
