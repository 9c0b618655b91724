"""hold: nothing is done; sizes for which what follows is not made are refused when planning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.layouts import CHANNEL_PACKED, dims_of
from vkbackend.ops.base import Candidate, Dispatch, Operator, Options
from vkbackend.ops.conv2d.geometry import Pair, image_of
from vkbackend.ops.packed import alias_options


@dataclass(frozen=True)
class Hold(Operator):
    """y is x; height and width leave these remainders by `period`.

    Stands before windows with a stride whose pads depend on the size by its remainder only.
    """

    kind: ClassVar[str] = "hold"

    period: Pair
    remainder: Pair

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The input's type; GraphError on a size that leaves another remainder."""
        shape, _ = image_of(inputs[0], "the input")
        if min(self.period) < 1:
            raise GraphError(f"period {self.period} is at least 1")
        found = [n % by for n, by in zip(dims_of(shape)[2:], self.period, strict=True)]
        if tuple(found) != self.remainder:
            raise GraphError(
                f"pads are made for heights and widths that leave {self.remainder} by "
                f"{self.period}, got {list(shape)}"
            )
        return [inputs[0]]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """The input itself."""
        return [inputs[0]]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """The input's own memory."""
        return alias_options(CHANNEL_PACKED)

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """Nothing."""
        return []
