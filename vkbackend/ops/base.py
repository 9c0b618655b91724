"""What an operator is: a frozen dataclass of named fields with five functions.

`infer`, `reference`, `candidates`, `pack_weights`, `lower`: see each one's docstring below.
Whether a way of computing a node is eligible on a GPU is decided in `candidates` and nowhere
else; what is preferred among them is decided in `costs.py`; `lower` is handed the choice.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from vkbackend.gpu import CooperativeMatrix, Dot, GpuInfo
from vkbackend.graph import Array, BoundNode, TensorType

Grid = tuple[int, int, int]
Constant = int | float | bool


@dataclass(frozen=True)
class Work:
    """What a candidate does, for pricing: counts over the whole node."""

    macs: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    invocations: int = 0
    dispatches: int = 1
    scratch_bytes: int = 0
    depth: int = 1  # how many times the usual loads an invocation has under way


@dataclass(frozen=True)
class Candidate:
    """One way to compute a node: an algorithm, a layout per input, one for all outputs."""

    algorithm: str
    input_layouts: tuple[str, ...]
    output_layout: str
    work: Work
    dot: Dot = Dot.PLAIN
    tile: tuple[int, int] = (1, 1)  # pixels x words of four output channels per invocation
    matrix: tuple[CooperativeMatrix, int] | None = None  # its shape, and the subgroup's size
    chunk_bytes: int = 0  # of K in shared memory at once, with cooperative matrices
    alias: bool = False  # the output is the input's own memory: nothing is dispatched
    unrolls: bool = False  # a row of taps: short enough where a dot product is one instruction
    splits: int = 1  # parts of K, each of workgroups of its own
    image_step: int = 0  # images per dispatch where the batch is split (ops/batch.py), 0: all

    @property
    def label(self) -> str:
        """Algorithm, dot-product form and layouts in one short text."""
        dot = "" if self.dot is Dot.PLAIN else f"/{self.dot.value}"
        return f"{self.algorithm}{dot} {','.join(self.input_layouts)}->{self.output_layout}"


@dataclass(frozen=True)
class Rejected:
    """An algorithm that cannot compute a node on a GPU, and why."""

    algorithm: str
    reason: str


@dataclass(frozen=True)
class Options:
    """Everything `candidates` found: what is eligible, and what is not."""

    eligible: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True)
class Slice:
    """Where a tensor lies among the channels of a larger one: its first word, and how many words of
    channels that one has. The twin of include/slice.glsl.
    """

    first_word: int
    words: int

    @property
    def push(self) -> dict[str, int | float]:
        """Push constants of every kernel that can write into a slice."""
        return {"first_stored_word": self.first_word, "stored_words": self.words}

    @property
    def read_push(self) -> dict[str, int | float]:
        """Push constants of every kernel that can read from a slice."""
        return {"first_read_word": self.first_word, "read_words": self.words}


@dataclass(frozen=True)
class Ref:
    """Memory that a dispatch binds: the n-th input or output, packed weights, or scratch."""

    kind: str  # input, output, weights, scratch
    index: int = 0
    role: str = ""
    offset_bytes: int = 0  # into the scratch


def input_ref(index: int = 0) -> Ref:
    """The node's input tensor."""
    return Ref("input", index)


def output_ref(index: int = 0) -> Ref:
    """The node's output tensor."""
    return Ref("output", index)


def weights_ref(role: str) -> Ref:
    """An array that `pack_weights` returned under this role."""
    return Ref("weights", role=role)


SCRATCH = Ref("scratch")


@dataclass(frozen=True)
class Dispatch:
    """One kernel launch in names: shader module, constants, bindings, push constants, grid."""

    shader: str
    bindings: Mapping[str, Ref]
    workgroups: Grid
    push: Mapping[str, int | float] = field(default_factory=dict)
    constants: Mapping[str, Constant] = field(default_factory=dict)
    subgroup_size: int | None = None  # where the kernel needs a certain one
    images: tuple[int, int] | None = None  # first image and count, where the batch is split

    def within(self, place: Slice | None, source: Slice | None) -> Dispatch:
        """The same with its output, or its first input, in a slice of a larger tensor."""
        push = dict(self.push)
        if place and output_ref() in self.bindings.values():
            push |= place.push
        if source and input_ref() in self.bindings.values():
            push |= source.read_push
        return replace(self, push=push)


class Operator(abc.ABC):
    """Base of all operators; subclasses are frozen dataclasses registered in ops/__init__.py."""

    kind: ClassVar[str]
    constant_roles: ClassVar[tuple[str, ...]] = ()
    keeps_images: ClassVar[bool] = True  # image n of an output needs image n of the inputs only
    holds: ClassVar[tuple[str, ...]] = ()  # kinds whose force rules are about it too
    fills_slices: ClassVar[bool] = False  # its kernels can write into a slice of a larger tensor
    reads_slices: ClassVar[bool] = False  # they can read its only input from one, too

    @property
    def title(self) -> str:
        """What plans call it."""
        return self.kind

    @abc.abstractmethod
    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """Output types; raises GraphError on a node that cannot be right."""

    @abc.abstractmethod
    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """The exact result in NumPy: arrays of the declared dtypes, NCHW order, in and out."""

    @abc.abstractmethod
    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Every way that can compute the node on this GPU, with its work, and every way not."""

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """Constants as the chosen kernel wants them, by role; flat arrays of 32-bit words."""
        del node, choice
        return {}

    @abc.abstractmethod
    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """Dispatches in order; handed the choice, decides nothing again."""


def ceil_div(a: int, b: int) -> int:
    """a / b rounded up, for non-negative integers."""
    return -(-a // b)


# Offsets into a buffer are multiples of this on every device (minStorageBufferOffsetAlignment), so
# that a plan made for one GPU runs on another.
OFFSET_ALIGNMENT_BYTES = 256
LOCAL_SIZE = 64  # invocations of a workgroup: the most that every Mali runs at full occupancy


def linear_grid(invocations: int, local_size: int = LOCAL_SIZE) -> Grid:
    """Workgroups for a one-dimensional kernel, folded over y where 65,535 do not suffice."""
    groups = max(1, ceil_div(invocations, local_size))
    rows = ceil_div(groups, 65535)
    return ceil_div(groups, rows), rows, 1


def whole(channels: int) -> Slice:
    """The slice that is a tensor of its own."""
    return Slice(0, ceil_div(channels, 4))


def total(shape: Iterable[int]) -> int:
    """Number of elements of a shape."""
    return math.prod(shape)


def grid_problem(grid: Grid, gpu: GpuInfo) -> str | None:
    """Why this GPU cannot launch that many workgroups, or None."""
    for axis, count, limit in zip("xyz", grid, gpu.max_workgroup_count, strict=True):
        if count > limit:
            return f"needs {count} workgroups along {axis}, this GPU launches at most {limit}"
    return None


def range_problem(size_bytes: int, what: str, gpu: GpuInfo) -> str | None:
    """Why this GPU cannot bind a buffer of that size, or None."""
    limit = gpu.max_storage_buffer_range_bytes
    if size_bytes > limit:
        return f"{what} takes {size_bytes} bytes, this GPU binds at most {limit}"
    return None
