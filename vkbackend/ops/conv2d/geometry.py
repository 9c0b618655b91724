"""Every number of one convolution, and the push constants that its kernels share."""

from __future__ import annotations

from dataclasses import dataclass

from vkbackend.errors import GraphError
from vkbackend.graph import Quantization, Shape, TensorType
from vkbackend.layouts import LAYOUTS
from vkbackend.ops.base import Candidate, Constant, ceil_div, whole
from vkbackend.ops.conv2d.epilogue import NO_SUM
from vkbackend.quant.requantize import mode

Pair = tuple[int, int]
SCRATCH_LIMIT_BYTES = 16 << 20  # of one convolution: columns, and sums of a split K


@dataclass(frozen=True)
class Geometry:
    """Sizes of a convolution; pairs are (height, width), padding (top, left, bottom, right)."""

    batch: int
    in_channels: int
    in_size: Pair
    out_channels: int
    out_size: Pair
    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    dilation: Pair
    groups: int
    x: Quantization
    y: Quantization
    clamp: Pair | None
    requantize: str
    weight_parts: int

    @property
    def group_in_channels(self) -> int:
        """Input channels of one group."""
        return self.in_channels // self.groups

    @property
    def group_out_channels(self) -> int:
        """Output channels of one group."""
        return self.out_channels // self.groups

    @property
    def taps(self) -> int:
        """Kernel positions."""
        return self.kernel[0] * self.kernel[1]

    @property
    def in_words(self) -> int:
        """Words of four input channels per pixel."""
        return ceil_div(self.in_channels, 4)

    @property
    def out_words(self) -> int:
        """Words of four output channels per pixel."""
        return ceil_div(self.out_channels, 4)

    @property
    def pixel_count(self) -> int:
        """Output pixels over the whole batch."""
        return self.batch * self.out_size[0] * self.out_size[1]

    def sums_bytes(self, splits: int) -> int:
        """Scratch for int32 sums of all outputs, as many times as K is split."""
        return 16 * splits * self.pixel_count * self.out_words

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer as written, without padding lanes."""
        return self.pixel_count * self.out_channels * self.group_in_channels * self.taps

    @property
    def is_depthwise(self) -> bool:
        """Each output channel reads exactly the input channel of the same number."""
        return self.groups == self.in_channels == self.out_channels

    @property
    def is_pointwise(self) -> bool:
        """A 1x1 kernel that never reads outside the image; any stride and groups."""
        return self.kernel == (1, 1) and self.padding == (0, 0, 0, 0)

    def first_input_word(self, tile: int, tile_words: int, block_words: int) -> int:
        """First input word that a tile of output words reads; its twin is in conv2d.glsl."""
        group = tile * tile_words * 4 // self.group_out_channels
        return min(group * self.group_in_channels // 4, self.in_words - block_words)

    def block_words(self, tile_words: int) -> int:
        """Input words per tap that cover the groups of any one tile."""
        if self.groups == 1:
            return self.in_words
        widest = 1
        for first in range(0, self.out_channels, 4 * tile_words):
            last = min(first + 4 * tile_words, self.out_channels) - 1
            low = first // self.group_out_channels * self.group_in_channels
            high = (last // self.group_out_channels + 1) * self.group_in_channels
            widest = max(widest, ceil_div(high, 4) - low // 4)
        return widest

    def push(
        self, tile_words: int = 1, first_pixel: int = 0, pixel_count: int | None = None
    ) -> dict[str, int | float]:
        """Push constants of conv2d.glsl; zero points and clamp as int8 storage holds them."""
        low, high = self.clamp or self.y.range
        zero_byte = self.x.stored_zero_point & 255
        return {
            "batch": self.batch,
            "in_channels": self.in_channels,
            "in_height": self.in_size[0],
            "in_width": self.in_size[1],
            "out_channels": self.out_channels,
            "out_height": self.out_size[0],
            "out_width": self.out_size[1],
            "kernel_height": self.kernel[0],
            "kernel_width": self.kernel[1],
            "stride_height": self.stride[0],
            "stride_width": self.stride[1],
            "padding_top": self.padding[0],
            "padding_left": self.padding[1],
            "dilation_height": self.dilation[0],
            "dilation_width": self.dilation[1],
            "group_in_channels": self.group_in_channels,
            "group_out_channels": self.group_out_channels,
            "block_words": self.block_words(tile_words),
            "input_zero_word": _signed(zero_byte * 0x01010101),
            "output_zero_point": self.y.stored_zero_point,
            "clamp_low": low + self.y.storage_offset,
            "clamp_high": high + self.y.storage_offset,
            "first_pixel": first_pixel,
            "pixel_count": self.pixel_count if pixel_count is None else pixel_count,
            **whole(self.out_channels).push,
            **NO_SUM,
        }

    def constants(self, choice: Candidate) -> dict[str, Constant]:
        """Specialisation constants that the computing kernels share."""
        return {
            "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
            "TILE_PIXELS": choice.tile[0],
            "ONE_IMAGE": self.batch == 1,
            "WEIGHT_PARTS": self.weight_parts,
            "REQUANTIZE": mode(self.requantize).CODE,
        }


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def output_size(
    in_size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: tuple[int, int, int, int],
    dilation: Pair,
) -> Pair:
    """Output height and width; GraphError where no kernel position fits."""
    sizes = []
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        room = in_size[axis] + padding[axis] + padding[axis + 2] - reach
        if room < 0:
            raise GraphError(
                f"a window of {reach} does not fit {('height', 'width')[axis]} {in_size[axis]} "
                f"with padding {padding[axis]} + {padding[axis + 2]}"
            )
        sizes.append(room // stride[axis] + 1)
    return sizes[0], sizes[1]


def image_of(tensor: TensorType, what: str) -> tuple[Shape, Quantization]:
    """Shape (n, c, h, w) and quantisation; GraphError on another rank or a float tensor."""
    if len(tensor.shape) not in (3, 4):
        raise GraphError(f"{what} has shape (n, c, h, w) or (n, c, w), got {tensor.shape}")
    return tensor.shape, tensor.quantized
