"""Weights, folded biases and requantisation parameters as the convolution kernels read them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vkbackend.gpu import Dot
from vkbackend.graph import Array
from vkbackend.ops.base import Candidate, ceil_div
from vkbackend.ops.conv2d.geometry import Geometry
from vkbackend.ops.conv2d.reference import centred_weight
from vkbackend.quant.requantize import channel_words, mode
from vkbackend.quant.requantize_executorch import with_bias

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]

UNSIGNED_DOTS = (Dot.MIXED, Dot.LANES)
UNSIGNED_SHIFT = 128  # what these add to activations to make them unsigned


def parts(constants: Mapping[str, Array]) -> list[Int8]:
    """Centred weights as a sum of int8 arrays: one where they fit, more where a zero point widens.

    uint8 weights with a zero point reach -255..255, of which 255 is the sum of three; kernels run
    over all parts.
    """
    if not np.any(constants.get("weight_zero_point", 0)):
        return [constants["weight"]]
    rest = centred_weight(constants)
    found: list[Int8] = []
    while rest.any() or not found:
        part = np.clip(rest, -128, 127).astype(np.int8)
        found.append(part)
        rest = rest - part
    return found


def zero_weights(constants: Mapping[str, Array], shape: tuple[int, ...]) -> Int8:
    """int8 of a shape [oc, ...], every weight one that stands for zero."""
    zero_point = np.broadcast_to(constants.get("weight_zero_point", 0), shape[:1])
    filled = np.empty(shape, np.int8)
    filled[:] = zero_point.reshape(-1, *(1,) * (len(shape) - 1))
    return filled


def mode_parameters(geometry: Geometry, constants: Mapping[str, Array]) -> Int32:
    """int32 [oc, 2 or 3]: the requantisation mode's parameters of every output channel."""
    scales = np.broadcast_to(constants["weight_scale"], (geometry.out_channels,))
    words = mode(geometry.requantize).parameters(geometry.x.scale, scales, geometry.y.scale)
    bias = constants.get("float_bias")
    return words if bias is None else with_bias(words, bias)


def channel_parameters(
    geometry: Geometry, constants: Mapping[str, Array], choice: Candidate
) -> Int32:
    """int32 [padded channels * 4]: folded bias and parameters; the last channels are zero.

    The bias takes in - x_zero_point * sum(w), with the zero point as the kernel's dot product
    sees activations (shifted by 128 in the unsigned forms).
    """
    shift = UNSIGNED_SHIFT if choice.dot in UNSIGNED_DOTS else 0
    weight_sums = centred_weight(constants).sum(axis=(1, 2, 3), dtype=np.int64)
    bias = -(geometry.x.stored_zero_point + shift) * weight_sums
    if "bias" in constants:
        bias = bias + constants["bias"]
    tile_channels = 4 * choice.tile[1]
    table = np.zeros((ceil_div(geometry.out_channels, tile_channels) * tile_channels, 4), np.int32)
    table[: geometry.out_channels] = channel_words(bias, mode_parameters(geometry, constants))
    return table.reshape(-1)


def pack_tiles(geometry: Geometry, constants: Mapping[str, Array], choice: Candidate) -> Int32:
    """Words [tile][part][tap][input word][output word of the tile][4 output channels].

    Each word holds four input channels of one output channel. A tile reads `block_words` words
    from its first input word on; weights of channels outside a group are zero.
    """
    g = geometry
    tile_words = choice.tile[1]
    block_words = g.block_words(tile_words)
    tiles = ceil_div(g.out_words, tile_words)
    dense = np.zeros((tiles, g.weight_parts, g.taps, 4 * block_words, 4 * tile_words), np.int8)
    for part, weight in enumerate(parts(constants)):
        taps_first = weight.reshape(g.out_channels, g.group_in_channels, g.taps)
        for group in range(g.groups):
            _place(dense[:, part], g, taps_first, group, tile_words, block_words)
    # [tile][part][tap][input word, lane][output channel] -> lanes innermost, then words
    split = dense.reshape(tiles, g.weight_parts, g.taps, block_words, 4, 4 * tile_words)
    lanes_last = np.ascontiguousarray(np.moveaxis(split, 4, 5))
    return lanes_last.reshape(-1).view(np.int32)


def _place(
    dense: Int8, g: Geometry, weight: Int8, group: int, tile_words: int, block_words: int
) -> None:
    """Writes one group's weights into the tiles that hold its output channels."""
    tile_channels = 4 * tile_words
    first, last = group * g.group_out_channels, (group + 1) * g.group_out_channels
    for tile in range(first // tile_channels, ceil_div(last, tile_channels)):
        begin = max(first, tile * tile_channels)
        end = min(last, (tile + 1) * tile_channels)
        word = g.first_input_word(tile, tile_words, block_words)
        lane = group * g.group_in_channels - 4 * word
        block = weight[begin:end].transpose(2, 1, 0)
        columns = slice(begin - tile * tile_channels, end - tile * tile_channels)
        dense[tile, :, lane : lane + g.group_in_channels, columns] = block


def pack_rows(
    geometry: Geometry, constants: Mapping[str, Array], tile_words: int, chunk_bytes: int
) -> Int8:
    """int8 [output channel, (part, tap, input channel)], for a plain matrix product.

    Channels of a tap fill whole 16 bytes, rows whole chunks, output channels whole tiles.
    """
    g = geometry
    block_words = g.block_words(tile_words)
    vectors = ceil_div(block_words, 4)
    tiles = ceil_div(g.out_words, tile_words)
    dense = np.zeros((tiles, g.weight_parts, g.taps, 16 * vectors, 4 * tile_words), np.int8)
    for part, weight in enumerate(parts(constants)):
        taps_last = weight.reshape(g.out_channels, g.group_in_channels, g.taps)
        for group in range(g.groups):
            _place(dense[:, part], g, taps_last, group, tile_words, block_words)
    rows = np.moveaxis(dense, 4, 1).reshape(tiles * 4 * tile_words, -1)
    padding = -rows.shape[1] % chunk_bytes
    return np.pad(rows, ((0, 0), (0, padding)))


def pack_depthwise(geometry: Geometry, constants: Mapping[str, Array], choice: Candidate) -> Int32:
    """Words [channel word][part][tap], each four channels of one tap."""
    del choice
    g = geometry
    dense = np.zeros((g.out_words, 4, g.weight_parts, g.taps), np.int8)
    for part, weight in enumerate(parts(constants)):
        flat = dense.reshape(4 * g.out_words, g.weight_parts, g.taps)
        flat[: g.out_channels, part] = weight.reshape(g.out_channels, g.taps)
    return np.ascontiguousarray(dense.transpose(0, 2, 3, 1)).reshape(-1).view(np.int32)
