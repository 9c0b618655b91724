"""conv2d_fused: a convolution and the element-wise node behind it, in one kernel.

Made by vkbackend/rewrite when a graph is resolved, never by a frontend. The bits are those of the
two nodes: the kernel requantises as the convolution does and goes on from that int8 value.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import size_bytes
from vkbackend.ops.base import (
    Candidate,
    Constant,
    Dispatch,
    Operator,
    Options,
    Ref,
    Work,
    input_ref,
    output_ref,
    weights_ref,
)
from vkbackend.ops.binary import Binary
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.conv2d.epilogue import PAIRS, PRODUCT, SUM, TABLE
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.operator import options
from vkbackend.ops.lookup import Lookup, stored_table

Operand = TypeVar("Operand")


@dataclass(frozen=True)
class Conv2dFused(Operator):
    """y = follower(conv(x), other) for a function of two values, follower(conv(x)) for one of one.

    `position` is the follower's input that the convolution makes; `other` is the second input, of
    y's shape. Constants: the convolution's, and the follower's table.
    """

    kind: ClassVar[str] = "conv2d_fused"
    fills_slices: ClassVar[bool] = True
    constant_roles: ClassVar[tuple[str, ...]] = (*Conv2d.constant_roles, "table")
    holds: ClassVar[tuple[str, ...]] = (Conv2d.kind,)

    conv: Conv2d
    follower: Binary | Lookup
    position: int = 0

    @property
    def title(self) -> str:
        """What is fused."""
        return f"{self.conv.title}+{self.follower.function}"

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The follower's type."""
        made = self.conv.infer(inputs[:1], _without_table(constants))
        return self.follower.infer(self._operands(made[0], inputs[1:]), constants)

    def _operands(self, made: Operand, others: Sequence[Operand]) -> list[Operand]:
        """The follower's inputs in their order."""
        operands = list(others)
        operands.insert(self.position, made)
        return operands

    def _convolution(self, node: BoundNode) -> BoundNode:
        """The convolution alone."""
        constants = _without_table(node.constants)
        return dataclasses.replace(
            node,
            op=self.conv,
            inputs=node.inputs[:1],
            input_names=node.input_names[:1],
            outputs=tuple(self.conv.infer(node.inputs[:1], constants)),
            constants=constants,
        )

    def _follower(self, node: BoundNode, made: TensorType) -> BoundNode:
        """The follower alone."""
        names = self._operands(node.input_names[0], node.input_names[1:])
        return dataclasses.replace(
            node,
            op=self.follower,
            inputs=tuple(self._operands(made, node.inputs[1:])),
            input_names=tuple(names),
            constants={"table": node.constants["table"]},
        )

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """One after the other."""
        convolution = self._convolution(node)
        (made,) = self.conv.reference(convolution, inputs[:1])
        follower = self._follower(node, convolution.outputs[0])
        return self.follower.reference(follower, self._operands(made, inputs[1:]))

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """The convolution's; the other tensor is read in the layout of the output."""
        geometry = self.conv.geometry(self._convolution(node))
        return _options(geometry, node.inputs[1:], gpu)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The convolution's, and the table where the kernel reads it."""
        packed = dict(self.conv.pack_weights(self._convolution(node), choice))
        if self._code in (PAIRS, TABLE):
            packed["table"] = stored_table(node.constants["table"], self.follower.output)
        return packed

    @property
    def _code(self) -> int:
        """What the kernel does: arithmetic where it is proved equal to the table."""
        if isinstance(self.follower, Lookup):
            return TABLE
        if self.follower.affine is not None:
            return SUM
        return PAIRS if self.follower.product is None else PRODUCT

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """The convolution's dispatches; those that store outputs get the epilogue."""
        convolution = self._convolution(node)
        return [
            self._with_epilogue(dispatch, node, convolution.outputs[0])
            if output_ref() in dispatch.bindings.values()
            else dispatch
            for dispatch in self.conv.lower(convolution, choice)
        ]

    def _with_epilogue(self, dispatch: Dispatch, node: BoundNode, made: TensorType) -> Dispatch:
        code, push = self._code, dict(dispatch.push)
        bindings: dict[str, Ref] = dict(dispatch.bindings)
        constants: dict[str, Constant] = {**dispatch.constants, "EPILOGUE": code}
        if isinstance(self.follower, Binary):
            bindings["Other"] = input_ref(1)
            constants["MADE_SECOND"] = self.position == 1
        if code in (PAIRS, TABLE):
            bindings["Table"] = weights_ref("table")
        elif isinstance(self.follower, Binary):
            values = self.follower.form_push(self._follower(node, made))
            push |= {f"sum_{name}": value for name, value in values.items()}
        return dataclasses.replace(dispatch, bindings=bindings, push=push, constants=constants)


def _without_table(constants: Mapping[str, Array]) -> dict[str, Array]:
    return {role: array for role, array in constants.items() if role != "table"}


@functools.lru_cache(maxsize=32)
def _options(geometry: Geometry, others: tuple[TensorType, ...], gpu: GpuInfo) -> Options:
    """The convolution's ways, each reading the other tensors in the layout of its output too."""
    alone = options(geometry, gpu)
    if not others:
        return alone
    read = {
        layout: sum(size_bytes(layout, tensor.shape) for tensor in others)
        for layout in {candidate.output_layout for candidate in alone.eligible}
    }
    works: dict[tuple[int, str], Work] = {}
    found = []
    for candidate in alone.eligible:
        layout = candidate.output_layout
        key = id(candidate.work), layout  # candidates that differ in form share their work
        if key not in works:
            bytes_read = candidate.work.bytes_read + read[layout]
            works[key] = dataclasses.replace(candidate.work, bytes_read=bytes_read)
        layouts = (*candidate.input_layouts, *(layout for _ in others))
        found.append(dataclasses.replace(candidate, input_layouts=layouts, work=works[key]))
    return Options(tuple(found), alone.rejected)
