"""quantize: float32 in plain order -> int8, by thresholds made on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
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
    weights_ref,
)
from vkbackend.quant import affine


@dataclass(frozen=True)
class Quantize(Operator):
    """y = clamp(rint(fl(x / scale)) + zero_point), exact without a division on the device.

    `reciprocal`: rint(fl(x * fl(1 / scale))) instead, ExecuTorch's rule. `halves_away`: halves away
    from zero instead of to even, TensorFlow Lite's.
    """

    kind: ClassVar[str] = "quantize"

    output: Quantization
    reciprocal: bool = False
    halves_away: bool = False

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's shape with this quantisation; GraphError on a tensor that has one."""
        if inputs[0].quantization is not None:
            raise GraphError(f"takes float32, got {inputs[0]}")
        return [TensorType(inputs[0].shape, self.output)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """quant.affine.quantize."""
        rule = {"reciprocal": self.reciprocal, "halves_away": self.halves_away}
        return [affine.quantize(inputs[0], self.output, **rule)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """From either plain order to any packed layout."""
        shape = node.inputs[0].shape
        read = size_bytes("NCHW", shape, item_bytes=4)
        found = []
        for source in PLAIN:
            for target in PACKED:
                written = size_bytes(target, shape)
                if not range_problem(max(read, written), "the tensor", gpu):
                    work = Work(bytes_read=read, bytes_written=written, invocations=written // 4)
                    found.append(Candidate("thresholds", (source,), target, work))
        problem = range_problem(read, "the input", gpu)
        return Options(tuple(found), (Rejected("thresholds", problem),) if problem else ())

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The 255 thresholds as float32, and a last one that nothing reaches."""
        rule = {"reciprocal": self.reciprocal, "halves_away": self.halves_away}
        steps = affine.thresholds(self.output, **rule)
        values = np.append(steps, np.float32(np.inf))
        return {"thresholds": values.astype(np.float32)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per output word."""
        n, c, h, w = dims_of(node.outputs[0].shape)
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        return [
            Dispatch(
                "quantize",
                {
                    "Input": input_ref(),
                    "Output": output_ref(),
                    "Thresholds": weights_ref("thresholds"),
                },
                linear_grid(words),
                {
                    "batch": n,
                    "channels": c,
                    "height": h,
                    "width": w,
                    "word_count": words,
                    "inverse_scale": float(np.float32(1.0 / self.output.scale)),
                    "stored_zero_point": self.output.stored_zero_point,
                },
                {
                    "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
                    "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
                },
            )
        ]
