"""Whole networks by their shapes, with weights of no meaning: for resolving and golden plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.null.networks import Builder, Q
from vkbackend.frontends.onnx import from_onnx
from vkbackend.graph import Graph, TensorType
from vkbackend.ops import MaxPool, Quantize

DIGITS = Path(__file__).parents[2] / "vkbackend/demo/digits.onnx"


def _image(size: int, channels: int = 3) -> Builder:
    builder = Builder()
    builder.input("image", TensorType((1, channels, size, size)))
    builder.add("quantize", Quantize(Q), ["image"], "quantize.y")
    return builder


def resnet50(size: int = 224) -> Graph:
    """ResNet-50 (He et al. 2015), stride in the 3x3 convolution."""
    builder = _image(size)
    stem = builder.conv("stem", "quantize.y", 64, 7, stride=2)
    builder.add("pool", MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), [stem], "pool.y")
    tensor = "pool.y"
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            name = f"layer{stage}.{block}"
            hidden = builder.conv(f"{name}.conv1", tensor, width, 1)
            hidden = builder.conv(f"{name}.conv2", hidden, width, 3, stride=stride)
            hidden = builder.conv(f"{name}.conv3", hidden, 4 * width, 1)
            if block == 0:
                tensor = builder.conv(f"{name}.shortcut", tensor, 4 * width, 1, stride=stride)
            tensor = builder.addition(f"{name}.add", hidden, tensor)
    return builder.classifier(tensor)


def mobilenetv2(size: int = 224) -> Graph:
    """MobileNetV2 1.0 (Sandler et al. 2018, table 2)."""
    builder = _image(size)
    tensor = builder.conv("stem", "quantize.y", 32, 3, stride=2)
    stages = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for stage, (expand, channels, blocks, first_stride) in enumerate(stages, start=1):
        for block in range(blocks):
            name = f"block{stage}.{block}"
            stride = first_stride if block == 0 else 1
            start, hidden = tensor, tensor
            wide = builder.types[tensor].shape[1] * expand
            if expand > 1:
                hidden = builder.conv(f"{name}.expand", hidden, wide, 1)
            hidden = builder.conv(f"{name}.depthwise", hidden, wide, 3, groups=wide, stride=stride)
            tensor = builder.conv(f"{name}.project", hidden, channels, 1)
            if block > 0:
                tensor = builder.addition(f"{name}.add", tensor, start)
    return builder.classifier(builder.conv("head", tensor, 1280, 1))


def digits() -> Graph:
    """The network of the demo."""
    return from_onnx(DIGITS)


LARGE_NETWORKS: dict[str, Callable[[], Graph]] = {
    "digits": digits,
    "mobilenetv2": mobilenetv2,
    "resnet50": resnet50,
}
