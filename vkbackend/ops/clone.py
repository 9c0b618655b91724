"""clone: a tensor under a second name, which may be wanted in a second layout. Free by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import PACKED
from vkbackend.ops.base import Candidate, Dispatch, Operator, Options
from vkbackend.ops.packed import alias_options


@dataclass(frozen=True)
class Clone(Operator):
    """The input itself. Where the two are wanted in different layouts, a relayout is made."""

    kind: ClassVar[str] = "clone"

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
        """The same memory, in any packed layout."""
        return alias_options(PACKED)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """Nothing."""
        return []
