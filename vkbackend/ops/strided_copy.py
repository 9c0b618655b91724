"""strided_copy: elements moved and none changed: slices, transposes, concatenations, pads.

One operator and one kernel for all that only moves bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import MAX_ELEMENTS, Array, BoundNode, Shape, TensorType
from vkbackend.layouts import CHANNEL_PACKED, LAYOUTS, Dims, dims_of, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    Rejected,
    Work,
    ceil_div,
    input_ref,
    linear_grid,
    output_ref,
    range_problem,
    total,
    weights_ref,
)

Digit = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """What one input of dims `source` gives: the output's box from `begin` of `size`.

    All three are (n, c, h, w). An element's place in the box, counted in NHWC order, is written in
    mixed radix: `digits` are (extent, stride), outermost first. offset + sum(digit * stride) is the
    place, in NHWC order, of the input's element. A box may reach over the output's edges; what lies
    outside is dropped.
    """

    source: Dims
    begin: Dims
    size: Dims
    digits: tuple[Digit, ...]
    offset: int = 0

    def over(self, images: int) -> Part:
        """The same for another number of images; GraphError where they do not stay apart."""
        image, batch = total(self.source[1:]), self.source[0]
        apart, rest = (self.begin[0], self.size[0]) == (0, batch), self.digits
        if apart and batch > 1:
            extent, stride = self.digits[0]
            apart = extent % batch == 0 and stride * (extent // batch) == image
            rest = ((extent // batch, stride), *self.digits[1:])
        if not apart:
            raise GraphError(f"made for {batch} images: they do not stay apart")
        source, size = (images, *self.source[1:]), (images, *self.size[1:])
        return Part(source, self.begin, size, ((images, image), *rest), self.offset)

    def clipped(self, dims: Dims) -> tuple[Dims, Dims]:
        """Begin and end of the box within a tensor."""
        begin = [max(0, at) for at in self.begin]
        ends = zip(self.begin, self.size, dims, strict=True)
        end = [min(at + size, limit) for at, size, limit in ends]
        return (begin[0], begin[1], begin[2], begin[3]), (end[0], end[1], end[2], end[3])

    def merged(self) -> tuple[Digit, ...]:
        """The same digits, as few as possible: what the kernel decodes."""
        found: list[Digit] = []
        for extent, stride in self.digits:
            if extent == 1:
                continue
            if found and found[-1][1] == extent * stride:
                found[-1] = found[-1][0] * extent, stride
            else:
                found.append((extent, stride))
        return tuple(found) or ((1, 0),)

    def channels(self) -> npt.NDArray[np.int64] | None:
        """The input's channel for each of the box, where every pixel stays where it is."""
        pixels, channels = total((self.size[0], *self.size[2:])), self.size[1]
        outer, inner = list(self.digits), [(1, 0)]
        while total(extent for extent, _ in inner) < channels:
            inner.insert(0, outer.pop())
        found = _places(replace(self, digits=tuple(inner)))
        stay = replace(self, digits=tuple(outer)).merged() == ((pixels, self.source[1]),)
        same = self.size[0] == self.source[0] and self.size[2:] == self.source[2:]
        inside = found.min() >= 0 and found.max() < self.source[1]
        fits = same and found.size == channels and inside and (stay or pixels == 1)
        return found if fits else None

    @property
    def is_unmoved(self) -> bool:
        """Whether the box is the whole input as it is."""
        channels = self.channels()
        return channels is not None and channels.tolist() == list(range(self.source[1]))

    def takes_whole_words(self, target: Dims) -> bool:
        """Whether every word of four output channels is one word of the input."""
        channels, whole = self.size[1], self.source[1]
        extent, stride = self.merged()[-1]
        if stride != 1 or extent % channels or (extent > channels and channels != whole):
            return False
        starts_words = self.begin[1] % 4 == 0 and self.offset % whole % 4 == 0
        ends_words = channels % 4 == 0 or self.begin[1] + channels >= target[1]
        stays = self.offset % whole + channels <= whole
        others = all(stride % whole == 0 for _, stride in self.merged()[:-1])
        return starts_words and ends_words and stays and others and self.begin[1] >= 0


@dataclass(frozen=True)
class StridedCopy(Operator):
    """Input i fills the box of parts[i]; `fill` (a value of the type) stands where no part does.

    All inputs have one quantisation, which is kept. Inputs of another number of images than the
    parts say are taken where images stay apart. `function` names it for people.
    """

    kind: ClassVar[str] = "strided_copy"

    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    function: str
    fill: int | None = None

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The output; GraphError where a part reads outside its input or the box is not filled."""
        if not inputs or len(inputs) != len(self.parts):
            raise GraphError(f"{len(self.parts)} parts for {len(inputs)} inputs")
        quantization = inputs[0].quantized
        for tensor in inputs[1:]:
            if tensor.quantized != quantization:
                raise GraphError("all inputs have one quantisation: requantise before")
        low, high = quantization.range
        if self.fill is not None and not low <= self.fill <= high:
            raise GraphError(f"fill {self.fill} is outside {quantization.dtype} {low}..{high}")
        shape, parts = self._bound(inputs)
        filled = 0
        for part in parts:
            _verify_part(part)
            begin, end = part.clipped(dims_of(shape))
            filled += math.prod(max(0, b - a) for a, b in zip(begin, end, strict=True))
        if filled > total(shape) or (self.fill is None and filled != total(shape)):
            raise GraphError(f"parts give {filled} elements to shape {list(shape)}")
        return [TensorType(shape, quantization)]

    def _bound(self, inputs: Sequence[TensorType]) -> tuple[Shape, tuple[Part, ...]]:
        """Output shape and parts for inputs of these shapes. Raises GraphError."""
        dims = [dims_of(tensor.shape) for tensor in inputs]
        if all(d == part.source for d, part in zip(dims, self.parts, strict=True)):
            return self.shape, self.parts
        images = dims[0][0]
        for found, part in zip(dims, self.parts, strict=True):
            if found != (images, *part.source[1:]) or len(self.shape) < 2:
                raise GraphError(f"made for {list(part.source)}, got {list(found)}")
        return (images, *self.shape[1:]), tuple(part.over(images) for part in self.parts)

    def copy(self, node: BoundNode) -> StridedCopy:
        """The same, made for inputs of these shapes. Raises GraphError."""
        shape, parts = self._bound(node.inputs)
        return replace(self, shape=shape, parts=parts)

    @property
    def dims(self) -> Dims:
        """The output's, as (n, c, h, w)."""
        return dims_of(self.shape)

    def picked_channels(self) -> npt.NDArray[np.int64] | None:
        """The one input's channel for each of the output's, where nothing else moves and none is
        taken twice; else None.
        """
        channels = self.parts[0].channels() if self.is_one_whole_box else None
        if channels is None or len(set(channels.tolist())) < len(channels):
            return None
        return channels

    @property
    def is_one_whole_box(self) -> bool:
        """Whether one input fills all of the output, and nothing of it is dropped."""
        box = self.parts[0].begin, self.parts[0].size
        return len(self.parts) == 1 and box == ((0, 0, 0, 0), self.dims)

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Indexing."""
        shape, parts = self._bound(node.inputs)
        dims = dims_of(shape)
        result = np.full(dims, self.fill or 0, inputs[0].dtype)
        for part, values in zip(parts, inputs, strict=True):
            flat = np.moveaxis(values.reshape(dims_of(values.shape)), 1, -1).reshape(-1)
            n, c, h, w = part.size
            box = np.moveaxis(flat[_places(part)].reshape(n, h, w, c), -1, 1)
            begin, end = part.clipped(dims)
            inside = tuple(slice(a, b) for a, b in zip(begin, end, strict=True))
            ranges = zip(begin, end, part.begin, strict=True)
            result[inside] = box[tuple(slice(a - at, b - at) for a, b, at in ranges)]
        return [result.reshape(shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """Any channel-packed layouts, one for all inputs; `words` where all parts move in words."""
        try:
            shape, parts = self._bound(node.inputs)
        except GraphError as error:  # asked about a part of the batch
            return Options((), (Rejected("bytes", str(error)),))
        whole = all(part.takes_whole_words(dims_of(shape)) for part in parts)
        algorithm = "words" if whole else "bytes"
        found, problems = [], []
        for source in CHANNEL_PACKED:
            for target in CHANNEL_PACKED:
                sizes = [size_bytes(source, tensor.shape) for tensor in node.inputs]
                written = size_bytes(target, shape)
                problem = range_problem(max(*sizes, written), "the tensor", gpu)
                if problem:
                    problems.append(Rejected(algorithm, problem))
                    continue
                work = Work(
                    bytes_read=sum(self.bytes_read(target, part) for part in parts),
                    bytes_written=written,
                    invocations=written // 4,
                    dispatches=len(parts),
                )
                layouts = (source,) * len(sizes)
                found.append(Candidate(algorithm, layouts, target, work))
        return Options(tuple(found), () if found else tuple(problems[:1]))

    def bytes_read(self, layout: str, part: Part) -> int:
        """Of a part that is written in a layout: what moves byte by byte is read by words too."""
        return size_bytes(layout, part.size) * (1 if part.takes_whole_words(self.dims) else 4)

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """Each part's places as the kernel decodes them."""
        return {
            f"places{index}": _packed_places(part)
            for index, part in enumerate(self._bound(node.inputs)[1])
        }

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch per part, one invocation per output word that the part touches."""
        return [self._dispatch(node, choice, index) for index in range(len(self.parts))]

    def _dispatch(self, node: BoundNode, choice: Candidate, index: int) -> Dispatch:
        shape, parts = self._bound(node.inputs)
        part, dims = parts[index], dims_of(shape)
        covers_all = index == 0 and self.fill is not None
        begin, end = ((0, 0, 0, 0), dims) if covers_all else part.clipped(dims)
        first = (begin[0], begin[1] // 4 * 4, begin[2], begin[3])
        spans = [b - a for a, b in zip(first, end, strict=True)]
        # A box of whole words, in the order in which the output's layout stores them.
        span: Dims = (spans[0], 4 * ceil_div(spans[1], 4), spans[2], spans[3])
        words = LAYOUTS[choice.output_layout].element_count(span) // 4
        offset = node.outputs[0].quantized.storage_offset
        push: dict[str, int | float] = {
            **_dims_push("from", dims_of(node.inputs[index].shape)),
            **_dims_push("to", dims),
            **_dims_push("begin", part.begin),
            **_dims_push("size", part.size),
            **_dims_push("first", first),
            **_dims_push("span", span),
            "offset": part.offset,
            "digit_count": len(part.merged()),
            "fill_byte": ((self.fill or 0) + offset) & 255,
            "word_count": words,
        }
        constants = {
            "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[index]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
            "WHOLE_WORDS": part.takes_whole_words(dims),
            "FILLS": covers_all,
            "PIXELS_STAY": part.channels() is not None,
        }
        bindings = {
            "Input": input_ref(index),
            "Output": output_ref(),
            "Places": weights_ref(f"places{index}"),
        }
        return Dispatch("strided_copy", bindings, linear_grid(words), push, constants)


def _verify_part(part: Part) -> None:
    """Raises GraphError unless the digits count the box and stay within the input."""
    if min(part.size) < 1 or any(extent < 1 for extent, _ in part.digits):
        raise GraphError("a part's sizes and extents are at least 1")
    if total(part.size) > MAX_ELEMENTS:
        raise GraphError(f"a part's box of {part.size} holds more than 2^30 elements")
    if total(extent for extent, _ in part.digits) != total(part.size):
        raise GraphError(f"digits {part.digits} do not count a box of {part.size}")
    reaches = [(extent - 1) * stride for extent, stride in part.digits]
    least = part.offset + sum(reach for reach in reaches if reach < 0)
    greatest = part.offset + sum(reach for reach in reaches if reach > 0)
    if least < 0 or greatest >= total(part.source):
        raise GraphError(f"a part reads elements {least}..{greatest} of {part.source}")


def _packed_places(part: Part) -> npt.NDArray[np.int32]:
    """Channels as 32 * word + bit where pixels stay, else digits (extent, stride) from the last."""
    channels = part.channels()
    if channels is not None:
        return (channels // 4 * 32 + channels % 4 * 8).astype(np.int32)
    return np.array(part.merged()[::-1], np.int32).reshape(-1)


def _places(part: Part) -> npt.NDArray[np.int64]:
    """The input's place, in NHWC order, of every element of the box."""
    places = np.array(part.offset, np.int64)
    for extent, stride in part.digits:
        places = np.add.outer(places, np.arange(extent, dtype=np.int64) * stride)
    return places.reshape(-1)


def _dims_push(prefix: str, dims: Dims) -> dict[str, int]:
    return {f"{prefix}_{axis}": size for axis, size in zip("nchw", dims, strict=True)}
