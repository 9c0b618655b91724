"""What kernels between two channel-packed tensors share: their candidates, grids and constants."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from vkbackend.gpu import GpuInfo
from vkbackend.graph import BoundNode
from vkbackend.layouts import CHANNEL_PACKED, LAYOUTS, dims_of, size_bytes
from vkbackend.ops.base import (
    LOCAL_SIZE,
    Candidate,
    Constant,
    Grid,
    Options,
    Rejected,
    Work,
    ceil_div,
    grid_problem,
    range_problem,
    whole,
)

MAX_GRID_COLUMNS = 65535
Pair = tuple[int, int]


def alias_options(layouts: Iterable[str]) -> Options:
    """The input's own memory, in any of these layouts."""
    work = Work(dispatches=0)
    return Options(
        tuple(Candidate("alias", (layout,), layout, work, alias=True) for layout in layouts)
    )


def packed_options(
    algorithm: str,
    node: BoundNode,
    gpu: GpuInfo,
    bytes_read: Callable[[int, int], int],
    *,
    grid: Grid | None = None,
    macs: int = 0,
    targets: Sequence[str] = CHANNEL_PACKED,
) -> Options:
    """From every channel-packed layout to every target that the GPU's limits allow.

    `bytes_read` is handed the sizes of input and output in bytes. `grid` is where one dispatch has
    workgroups of its own; without, one invocation makes one word.
    """
    source_shape, y = node.inputs[0].shape, node.outputs[0]
    found, problems = [], []
    for source, target in itertools.product(CHANNEL_PACKED, targets):
        read = size_bytes(source, source_shape)
        written = size_bytes(target, y.shape, 4 if y.quantization is None else 1)
        problem = range_problem(max(read, written), "the tensor", gpu)
        problem = problem or (grid_problem(grid, gpu) if grid else None)
        if problem:
            problems.append(Rejected(algorithm, problem))
            continue
        invocations = LOCAL_SIZE * grid[0] * grid[1] if grid else written // 4
        work = Work(macs, bytes_read(read, written), written, invocations)
        found.append(Candidate(algorithm, (source,), target, work))
    return Options(tuple(found), () if found else tuple(problems[:1]))


def grid_of_outputs(node: BoundNode) -> Grid:
    """Lanes over the pixels of the output, workgroups over its words of channels too."""
    batch, channels, rows, columns = dims_of(node.outputs[0].shape)
    return ceil_div(batch * rows * columns, LOCAL_SIZE), ceil_div(channels, 4), 1


def grid_of_pixels(node: BoundNode) -> Grid:
    """One workgroup per pixel of the input, in rows that every device launches."""
    batch, _, height, width = dims_of(node.inputs[0].shape)
    pixels = batch * height * width
    return min(pixels, MAX_GRID_COLUMNS), ceil_div(pixels, MAX_GRID_COLUMNS), 1


def layout_constants(choice: Candidate) -> dict[str, Constant]:
    """The specialisation constants of layout.glsl."""
    return {
        "INPUT_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
        "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
    }


def sizes_push(node: BoundNode) -> dict[str, int | float]:
    """Push constants: the sizes of input and output, and of slice.glsl."""
    batch, channels, in_height, in_width = dims_of(node.inputs[0].shape)
    _, _, out_height, out_width = dims_of(node.outputs[0].shape)
    return {
        "batch": batch,
        "channels": channels,
        "in_height": in_height,
        "in_width": in_width,
        "out_height": out_height,
        "out_width": out_width,
        **whole(channels).push,
    }


def window_push(
    node: BoundNode, kernel: Pair, stride: Pair, padding: Sequence[int]
) -> dict[str, int | float]:
    """Push constants of kernels that slide a window."""
    return {
        **sizes_push(node),
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": stride[0],
        "stride_width": stride[1],
        "padding_top": padding[0],
        "padding_left": padding[1],
    }
