"""dequantize: int8 -> float32 in plain order, by a table of 256 floats made on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import LAYOUTS, PACKED, PLAIN, dims_of, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    Rejected,
    Work,
    input_ref,
    linear_grid,
    output_ref,
    range_problem,
    total,
    weights_ref,
)
from vkbackend.quant import affine


@dataclass(frozen=True)
class Dequantize(Operator):
    """x = fl((q - zero_point) * scale)."""

    kind: ClassVar[str] = "dequantize"

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """float32 of the input's shape."""
        _ = inputs[0].quantized
        return [TensorType(inputs[0].shape)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """quant.affine.dequantize."""
        return [affine.dequantize(inputs[0], node.inputs[0].quantized)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """From any packed layout to either plain order."""
        shape = node.inputs[0].shape
        written = size_bytes("NCHW", shape, item_bytes=4)
        found = []
        for source in PACKED:
            for target in PLAIN:
                read = size_bytes(source, shape)
                if not range_problem(max(read, written), "the tensor", gpu):
                    work = Work(bytes_read=read, bytes_written=written, invocations=total(shape))
                    found.append(Candidate("table", (source,), target, work))
        problem = range_problem(written, "the output", gpu)
        return Options(tuple(found), (Rejected("table", problem),) if problem else ())

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The 256 floats, by stored value + 128."""
        quantization = node.inputs[0].quantized
        return {"table": affine.dequantize(affine.every_value(quantization), quantization)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per element."""
        n, c, h, w = dims_of(node.outputs[0].shape)
        count = n * c * h * w
        return [
            Dispatch(
                "dequantize",
                {"Input": input_ref(), "Output": output_ref(), "Table": weights_ref("table")},
                linear_grid(count),
                {"batch": n, "channels": c, "height": h, "width": w, "element_count": count},
                {
                    "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
                    "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
                },
            )
        ]
