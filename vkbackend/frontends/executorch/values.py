"""What the conversion knows about a tensor: where it lies, or how it follows from int8 tensors.

Between dequantise and quantise nothing is computed: a float tensor is remembered as a function of
int8 tensors (Elementwise), as something that only a following quantise can make (Deferred), or as
a concatenation (Joined). Quantise, which knows the scale, makes int8 operators of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vkbackend.graph import Array, Quantization, Shape, TensorType
from vkbackend.quant import affine
from vkbackend.quant.affine import every_value
from vkbackend.quant.pair import every_pair

Float32 = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer]


class RefusedError(Exception):
    """Why an operator cannot be converted."""


@dataclass(frozen=True)
class Function:
    """An element-wise float32 function. `rises`: it never falls, so that it keeps an order.

    `clamps`: between two limits it returns every value as it is, so that it may follow rounding.
    """

    name: str
    apply: Callable[[Float32], Float32]
    rises: bool = False
    clamps: bool = False


Functions = tuple[Function, ...]


def composed(functions: Functions) -> Callable[[Float32], Float32]:
    """The functions applied one after another."""

    def apply(values: Float32) -> Float32:
        for function in functions:
            values = function.apply(values)
        return values

    return apply


@dataclass(frozen=True)
class Stored:
    """A tensor of the graph: quantised, or a float32 input of the network."""

    name: str
    type: TensorType


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor that the file holds."""

    array: Array


@dataclass(frozen=True, eq=False)
class QuantizedConstant:
    """A dequantised int8 constant, (array - zero_point) * scale: one of each, or one per index of
    `axis`.
    """

    array: Array
    scale: Float32
    zero_point: npt.NDArray[np.int32]
    axis: int

    def real(self) -> Constant:
        """Its float32 values."""
        form = [1] * self.array.ndim
        if self.scale.size > 1:
            form[self.axis] = self.scale.size
        centred = self.array.astype(np.int32) - self.zero_point.reshape(form)
        return Constant(centred.astype(np.float32) * self.scale.reshape(form))


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A float32 tensor, each element a function of one element of each source (one or two).

    Sources broadcast to `shape`. `compute` takes the sources' quantised integers; `name` says
    what it does. `affine` is (scale, zero point) of one that is only dequantised.
    """

    sources: tuple[Stored, ...]
    shape: Shape
    compute: Callable[..., Float32]
    name: str
    affine: tuple[float, int] | None = None

    def table(self) -> Float32:
        """All values: 256 of one source, 65,536 of two (in order of quant.pair.every_pair)."""
        types = [source.type.quantized for source in self.sources]
        with np.errstate(all="ignore"):
            if len(types) == 1:
                return self.compute(every_value(types[0]).astype(np.int32))
            return self.compute(*every_pair(*types))

    def then(self, function: Function) -> Elementwise:
        """This, then a function."""
        compute, name = self.compute, function.name
        if self.name:
            name = f"{self.name}+{name}"
        applied = lambda *x: function.apply(compute(*x))  # noqa: E731
        return replace(self, compute=applied, name=name, affine=None)

    @property
    def is_plain(self) -> bool:
        """Whether it is its one source, dequantised as that itself says."""
        quantization = self.sources[0].type.quantized
        return self.affine == (quantization.scale, quantization.zero_point)

    @property
    def source(self) -> Stored | None:
        """The source, where there is one of this shape: moving it moves this."""
        (first, *others) = self.sources
        return first if not others and first.type.shape == self.shape else None


@dataclass(frozen=True, eq=False)
class Deferred:
    """A float32 tensor that is made once its quantisation is known.

    `make` is given a name for the tensor, its quantisation, and the functions to apply before it
    is quantised; it raises RefusedError where these do not fuse. `real`, where there is such a
    way, makes it as float32, as an output of the network, of a shape with as many elements.
    """

    shape: Shape
    make: Callable[[str, Quantization, Functions], Stored]
    functions: Functions = ()
    real: Callable[[str, Shape], Stored] | None = None

    def then(self, function: Function) -> Deferred:
        """This, then a function."""
        return replace(self, functions=(*self.functions, function), real=None)


@dataclass(frozen=True, eq=False)
class Joined:
    """A concatenation along an axis of float tensors that have no common quantisation yet."""

    pieces: tuple[Elementwise | Deferred, ...]
    axis: int
    shape: Shape

    def then(self, function: Function) -> Joined:
        """This, then a function."""
        return replace(self, pieces=tuple(piece.then(function) for piece in self.pieces))


class Unknown:
    """What a refused operator would have made."""


Value = Stored | Constant | QuantizedConstant | Elementwise | Deferred | Joined | Unknown


def dequantized(source: Stored, scale: float, zero_point: int) -> Elementwise:
    """fl((q - zero_point) * scale) of a quantised tensor."""

    def compute(values: Integers) -> Float32:
        real: Float32 = (values - zero_point).astype(np.float32) * np.float32(scale)
        return real

    return Elementwise((source,), source.type.shape, compute, "", (scale, zero_point))


def quantized_table(value: Elementwise, output: Quantization) -> Array:
    """All values of a float tensor as its quantise rounds them."""
    return affine.quantize(value.table(), output, reciprocal=True)
