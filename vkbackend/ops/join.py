"""join: a concatenation of channels of which some parts are made where they belong.

Made by vkbackend/rewrite when a graph is resolved, never by a frontend. The kernels that make those
parts write into slices of the joined tensor; what is left is copied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Graph, TensorType
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import Candidate, Dispatch, Operator, Options, Slice, ceil_div
from vkbackend.ops.strided_copy import StridedCopy


def placed_parts(graph: Graph) -> list[str]:
    """The tensors that lie in a slice of another one."""
    return [
        node.inputs[at]
        for node in graph.nodes
        if isinstance(node.op, Join)
        for at in node.op.placed
    ]


@dataclass(frozen=True)
class Join(Operator):
    """y = concat(x0, x1, ...), where the inputs at `placed` lie in their slices of y already."""

    kind: ClassVar[str] = "join"

    concat: StridedCopy
    placed: tuple[int, ...]

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The concatenation's type."""
        return self.concat.infer(inputs, constants)

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """The concatenation's result."""
        return self.concat.reference(node, inputs)

    def slice_of(self, position: int) -> Slice:
        """Where an input lies in the output."""
        return Slice(self.concat.parts[position].begin[1] // 4, ceil_div(self.concat.dims[1], 4))

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """The concatenation's, of which only the parts that are left do any work."""
        found = self.concat.candidates(node, gpu)
        left = [at for at in range(len(node.inputs)) if at not in self.placed]
        eligible = []
        for candidate in found.eligible:
            source, target = candidate.input_layouts[0], candidate.output_layout
            if not left and source != target:
                continue
            parts = [self.concat.parts[at] for at in left]
            written = sum(size_bytes(target, part.size) for part in parts)
            work = dataclasses.replace(
                candidate.work,
                bytes_read=sum(self.concat.bytes_read(target, part) for part in parts),
                bytes_written=written,
                invocations=written // 4,
                dispatches=len(left),
            )
            layouts = tuple(source if at in left else target for at in range(len(node.inputs)))
            eligible.append(
                dataclasses.replace(
                    candidate,
                    algorithm=candidate.algorithm if left else "alias",
                    input_layouts=layouts,
                    work=work,
                    alias=not left,
                )
            )
        return Options(tuple(eligible), found.rejected)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The concatenation's, for the parts that are left."""
        packed = self.concat.pack_weights(node, choice)
        roles = {f"places{at}" for at in self.placed}
        return {role: array for role, array in packed.items() if role not in roles}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch per part that is left."""
        dispatches = self.concat.lower(node, choice)
        return [each for at, each in enumerate(dispatches) if at not in self.placed]
