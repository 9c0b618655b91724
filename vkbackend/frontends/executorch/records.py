"""An ExecuTorch program as small typed records: what the converter reads instead of flatbuffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vkbackend.graph import Array, Shape

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor: NumPy's name of its type, its shape, and what it holds where it is constant.

    `layout` is the serialised packed layout, CONV2D among them, or None. `memory` is where a
    tensor of the program lies: two tensors at one place are the same bytes.
    """

    dtype: str
    shape: Shape
    layout: str | None = None
    data: Array | None = field(default=None, repr=False)
    memory: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Members:
    """A list of other values, by number."""

    ids: Ids


@dataclass(frozen=True)
class Symbol:
    """A number that depends on the input's shape, with the value that the file states."""

    value: int


Value = (
    Tensor
    | Members
    | Symbol
    | tuple[int, ...]
    | tuple[float, ...]
    | int
    | float
    | bool
    | str
    | None
)


@dataclass(frozen=True, eq=False)
class Space:
    """The values of one program or one call of a delegate; `prefix` begins their tensors' names."""

    where: str
    prefix: str
    values: Sequence[Value] = field(repr=False)


@dataclass(frozen=True)
class Place:
    """One value of one space."""

    space: Space
    id: int


@dataclass(frozen=True, eq=False)
class Call:
    """An operator applied: numbers of its arguments and of what it makes, in its space."""

    space: Space
    index: int
    op: str
    arguments: Ids
    outputs: Ids

    @property
    def op_name(self) -> str:
        """Namespace and name without the overload: "aten.mean" of "aten::mean.out"."""
        return ".".join(self.op.replace("::", ".").split(".")[:2])

    @property
    def label(self) -> str:
        """Where it stands and what it is, as messages begin."""
        return f"{self.space.where}[{self.index}] {self.op}"


@dataclass(frozen=True, eq=False)
class Bind:
    """A value under another number: an argument of a delegate, or what it gives back."""

    source: Place
    target: Place


Step = Call | Bind


@dataclass(frozen=True, eq=False)
class Program:
    """Everything that runs, in order, delegates unfolded."""

    source: str
    inputs: tuple[Place, ...]
    outputs: tuple[Place, ...]
    steps: tuple[Step, ...]
