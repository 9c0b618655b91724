"""Whole networks by their shapes, with weights of no meaning: for resolving and golden plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.stages import MOBILENETV2, RESNET50
from tests.null.networks import Builder, Q
from vkbackend.frontends.onnx import from_onnx
from vkbackend.graph import Graph, TensorType
from vkbackend.ops import MaxPool, OnnxResize, Quantize, Rearrange
from vkbackend.ops.strides import RESHAPE, SLICE, TRANSPOSE, Step

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
    for stage, (width, blocks) in enumerate(RESNET50, start=1):
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
    for stage, (expand, channels, blocks, first_stride) in enumerate(MOBILENETV2, start=1):
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


def unet(size: int = 224) -> Graph:
    """A U-Net (Ronneberger et al. 2015) of four levels; the last upsampling is nearest."""
    builder = _image(size)

    def level(name: str, source: str, width: int) -> str:
        return builder.conv(f"{name}.conv2", builder.conv(f"{name}.conv1", source, width), width)

    tensor, skipped = level("down0", "quantize.y", 16), []
    for depth, width in enumerate((32, 64, 128), start=1):
        skipped.append(tensor)
        builder.add(f"pool{depth}", MaxPool((2, 2), (2, 2)), [tensor], f"pool{depth}.y")
        tensor = level(f"down{depth}", f"pool{depth}.y", width)
    linear = OnnxResize("half_pixel", (2.0, 2.0), output=Q)
    nearest = OnnxResize("asymmetric", (2.0, 2.0), rounding="floor")
    for depth, skip in reversed(list(enumerate(skipped))):
        builder.add(f"resize{depth}", linear if depth else nearest, [tensor], f"resize{depth}.y")
        both = _concat(builder, f"concat{depth}", skip, f"resize{depth}.y")
        tensor = level(f"up{depth}", both, builder.types[skip].shape[1])
    return builder.build([builder.conv("classes", tensor, 4, 1)])


def shufflenetv2(size: int = 224) -> Graph:
    """ShuffleNetV2 1.0 (Ma et al. 2018, table 5); a shuffle and a split are one copy each half."""
    builder = _image(size)
    tensor = builder.conv("stem", "quantize.y", 24, stride=2)
    builder.add("pool", MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), [tensor], "pool.y")
    tensor = "pool.y"
    for stage, (channels, blocks) in enumerate(((116, 4), (232, 8), (464, 4)), start=2):
        half, wide = channels // 2, builder.types[tensor].shape[1]
        name = f"stage{stage}.0"
        left = builder.conv(f"{name}.left1", tensor, wide, groups=wide, stride=2)
        left = builder.conv(f"{name}.left2", left, half, 1)
        tensor = _shuffle_block(builder, name, left, tensor, half, stride=2)
        for block in range(1, blocks):
            name = f"stage{stage}.{block}"
            left, right = (
                _moved(builder, f"{name}.split{at}", tensor, (*SHUFFLE, _channels(at, half)))
                for at in (0, half)
            )
            tensor = _shuffle_block(builder, name, left, right, half)
        tensor = _moved(builder, f"stage{stage}.shuffle", tensor, SHUFFLE)
    return builder.classifier(builder.conv("head", tensor, 1024, 1))


SHUFFLE = (  # the channels of two halves in turn
    Step(RESHAPE, (0, 2, -1, -4, -5)),
    Step(TRANSPOSE, (0, 2, 1, 3, 4)),
    Step(RESHAPE, (0, -1, -5, -6)),
)


def _channels(begin: int, count: int) -> Step:
    return Step(SLICE, (1, begin, begin + count, 1))


def _shuffle_block(
    builder: Builder, name: str, left: str, right: str, half: int, *, stride: int = 1
) -> str:
    hidden = builder.conv(f"{name}.conv1", right, half, 1)
    hidden = builder.conv(f"{name}.conv2", hidden, half, groups=half, stride=stride)
    hidden = builder.conv(f"{name}.conv3", hidden, half, 1)
    return _concat(builder, f"{name}.concat", left, hidden)


def _concat(builder: Builder, name: str, first: str, second: str) -> str:
    builder.add(name, Rearrange(((), ()), "concat", 1), [first, second], f"{name}.y")
    return f"{name}.y"


def _moved(builder: Builder, name: str, source: str, steps: tuple[Step, ...]) -> str:
    builder.add(name, Rearrange((steps,), "shuffle"), [source], f"{name}.y")
    return f"{name}.y"


def digits() -> Graph:
    """The network of the demo."""
    return from_onnx(DIGITS)


LARGE_NETWORKS: dict[str, Callable[[], Graph]] = {
    "digits": digits,
    "mobilenetv2": mobilenetv2,
    "resnet50": resnet50,
    "shufflenetv2": shufflenetv2,
    "unet": unet,
}
