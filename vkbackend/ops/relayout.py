"""relayout: copies a quantised tensor from one layout to another, plain or packed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import LAYOUTS, PLAIN, Dims, dims_of, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    Work,
    input_ref,
    linear_grid,
    output_ref,
    range_problem,
)

UINT8_TO_STORED = -0x7F7F7F80  # 0x80808080: a uint8 byte and its int8 storage differ in one bit


@dataclass(frozen=True)
class Relayout(Operator):
    """The same values in another layout. Plain layouts hold uint8 as it is, packed ones as int8."""

    kind: ClassVar[str] = "relayout"

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's type."""
        _ = inputs[0].quantized
        return [inputs[0]]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """The input itself."""
        return [inputs[0]]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Every pair of layouts within the device's limits."""
        return Options(
            tuple(
                candidate
                for source in LAYOUTS
                for target in LAYOUTS
                if (candidate := relayout_candidate(node.inputs[0], source, target, gpu))
            )
        )

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per word of the target."""
        return [copy_dispatch(node.inputs[0], node.outputs[0], choice)]


def relayout_candidate(
    tensor: TensorType, source: str, target: str, gpu: GpuInfo
) -> Candidate | None:
    """The copy between two layouts, or None where the device cannot bind the tensors."""
    read, written = size_bytes(source, tensor.shape), size_bytes(target, tensor.shape)
    if range_problem(max(read, written), "the tensor", gpu):
        return None
    work = Work(bytes_read=read, bytes_written=written, invocations=written // 4)
    return Candidate("copy", (source,), target, work)


def copy_dispatch(source: TensorType, target: TensorType, choice: Candidate) -> Dispatch:
    """Copies element i (in NCHW order) of the source to element i of the target."""
    from_layout, to_layout = choice.input_layouts[0], choice.output_layout
    from_dims, to_dims = dims_of(source.shape), dims_of(target.shape)
    crosses = (from_layout in PLAIN) != (to_layout in PLAIN)
    flips = crosses and source.dtype == "uint8"
    return Dispatch(
        "relayout",
        {"Input": input_ref(), "Output": output_ref()},
        linear_grid(size_bytes(to_layout, target.shape) // 4),
        {
            **_dims_push("from", from_dims),
            **_dims_push("to", to_dims),
            "flip_word": UINT8_TO_STORED if flips else 0,
            "word_count": size_bytes(to_layout, target.shape) // 4,
        },
        {
            "INPUT_LAYOUT": LAYOUTS[from_layout].code,
            "OUTPUT_LAYOUT": LAYOUTS[to_layout].code,
            "RESHAPE": from_dims != to_dims,
        },
    )


def _dims_push(prefix: str, dims: Dims) -> dict[str, int]:
    return {f"{prefix}_{axis}": size for axis, size in zip("nchw", dims, strict=True)}
