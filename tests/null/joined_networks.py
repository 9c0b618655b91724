"""Networks that join channels: branches of every kind, and what must stay a copy."""

from __future__ import annotations

import numpy as np

from tests.null.networks import Builder, Q
from vkbackend.graph import Graph, TensorType
from vkbackend.ops import (
    AveragePool,
    Lookup,
    MaxPool,
    OnnxAveragePool,
    OnnxResize,
    Rearrange,
)
from vkbackend.ops.strides import SLICE, Step

# Of one pixel each, so that every branch keeps the image's size.
POOLS = {
    "max": MaxPool((3, 3), (1, 1), (1, 1, 1, 1)),
    "average": AveragePool(Q, (3, 3), (1, 1), (1, 1, 1, 1)),
    "mean": OnnxAveragePool(Q, (3, 3), (1, 1), (1, 1, 1, 1)),
    "bilinear": OnnxResize("half_pixel", (1.0, 1.0), output=Q),
    "nearest": OnnxResize("asymmetric", (1.0, 1.0), rounding="floor"),
}
KINDS = ("conv", "depthwise", "sum", "table", *POOLS)


def concat(builder: Builder, name: str, *parts: str, axis: int = 1) -> str:
    """Tensors side by side."""
    moves = ((),) * len(parts)
    builder.add(name, Rearrange(moves, "concat", axis), parts, f"{name}.y")
    return f"{name}.y"


def branch(builder: Builder, name: str, kind: str, source: str, channels: int) -> str:
    """Something that ends in a tensor of so many channels."""
    start = builder.conv(f"{name}.start", source, channels, 1)
    if kind == "conv":
        return builder.conv(name, start, channels)
    if kind == "depthwise":
        return builder.conv(name, start, channels, groups=channels)
    if kind == "sum":
        return builder.addition(f"{name}.add", start, builder.conv(name, start, channels, 1))
    if kind == "table":
        made = builder.conv(name, start, channels, 1)
        table = np.random.default_rng(1).integers(0, 256, 256).astype(np.uint8)
        builder.add(f"{name}.table", Lookup(Q, "random"), [made], f"{name}.t", {"table": table})
        return f"{name}.t"
    builder.add(name, POOLS[kind], [start], f"{name}.y")
    return f"{name}.y"


def branches(seed: int) -> Graph:
    """Two joins of random branches, one of which may be read twice, too."""
    rng = np.random.default_rng(seed)
    builder = Builder(seed)
    batch = int(rng.integers(1, 3))
    builder.input("x", TensorType((batch, 6, 5, 7), Q))
    tensor, outputs = "x", []
    for level in range(2):
        parts = []
        for at in range(int(rng.integers(2, 5))):
            kind, channels = str(rng.choice(KINDS)), int(rng.choice([3, 4, 8, 12]))
            parts.append(branch(builder, f"level{level}.{at}", kind, tensor, channels))
        if rng.random() < 0.5:
            parts.insert(int(rng.integers(len(parts))), parts[0])  # one part twice
        if rng.random() < 0.5:
            outputs.append(parts[-1])
        tensor = concat(builder, f"level{level}.concat", *parts)
    return builder.build([tensor, *outputs])


def joined() -> Graph:
    """One branch of each kind in whole words, and a last one that is not."""
    builder = Builder(7)
    builder.input("x", TensorType((2, 6, 5, 7), Q))
    parts = [branch(builder, kind, kind, "x", 8) for kind in KINDS]
    parts.append(branch(builder, "last", "conv", "x", 5))
    return builder.build([concat(builder, "concat", *parts)])


def half_joined() -> Graph:
    """A skip connection that another node reads too, and a part that is cut out of a tensor."""
    builder = Builder(8)
    builder.input("x", TensorType((1, 8, 6, 8), Q))
    skip, up = _skip_and_up(builder)
    moves = ((), (Step(SLICE, (1, 2, 6, 1)),), ())
    builder.add("concat", Rearrange(moves, "concat", 1), [skip, skip, up], "concat.y")
    return builder.build([builder.conv("head", "concat.y", 4, 1)])


def skipped() -> Graph:
    """A skip connection that a pooling reads too."""
    builder = Builder(9)
    builder.input("x", TensorType((2, 8, 6, 8), Q))
    joint = concat(builder, "concat", *_skip_and_up(builder))
    return builder.build([builder.conv("head", joint, 4, 1)])


def _skip_and_up(builder: Builder) -> tuple[str, str]:
    skip = builder.conv("skip", "x", 8)
    builder.add("pool", MaxPool((2, 2), (2, 2)), [skip], "pool.y")
    low = builder.conv("low", "pool.y", 12)
    builder.add("up", OnnxResize("half_pixel", (2.0, 2.0), output=Q), [low], "up.y")
    return skip, "up.y"
