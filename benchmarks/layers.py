"""The layers that the convolution benchmark runs: distinct convolutions of well-known networks."""

from __future__ import annotations

from dataclasses import dataclass

from tests.cases.case import Case
from tests.cases.conv2d import conv


@dataclass(frozen=True)
class Layer:
    """One convolution: square image, kernel, stride and padding; `size` is the input's."""

    network: str
    in_channels: int
    out_channels: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def name(self) -> str:
        """`64-64_56_3x3`, with `_s2` for a stride and `_g4` for groups; `_dw` is depthwise."""
        text = f"{self.in_channels}-{self.out_channels}_{self.size}_{self.kernel}x{self.kernel}"
        text += f"_s{self.stride}" if self.stride > 1 else ""
        if self.groups == self.in_channels == self.out_channels:
            return f"{text}_dw"
        return text + (f"_g{self.groups}" if self.groups > 1 else "")

    def case(self, batch: int) -> Case:
        """The layer as the tests have theirs, padded to keep its size but for the stride."""
        side = self.kernel // 2
        return conv(
            self.name,
            (batch, self.in_channels, self.size, self.size),
            self.out_channels,
            (self.kernel, self.kernel),
            stride=(self.stride, self.stride),
            padding=(side, side, side, side),
            groups=self.groups,
        )


def _resnet50() -> list[Layer]:
    """Stride in the 3x3 convolution of a block, as torchvision has it."""
    layers = [Layer("resnet50", 3, 64, 224, 7, 2)]
    channels_in, size = 64, 56
    for stage, width in enumerate((64, 128, 256, 512)):
        stride = 1 if stage == 0 else 2
        out = 4 * width
        layers.append(Layer("resnet50", channels_in, width, size, 1))
        layers.append(Layer("resnet50", width, width, size, 3, stride))
        layers.append(Layer("resnet50", channels_in, out, size, 1, stride))
        size //= stride
        layers.append(Layer("resnet50", width, out, size, 1))
        layers.append(Layer("resnet50", out, width, size, 1))
        layers.append(Layer("resnet50", width, width, size, 3))
        channels_in = out
    return layers


def _mobilenetv2() -> list[Layer]:
    """Inverted residual blocks: widen by six, depthwise, narrow; a stage's first is special."""
    layers = [
        Layer("mobilenetv2", 3, 32, 224, 3, 2),
        Layer("mobilenetv2", 32, 32, 112, 3, groups=32),
        Layer("mobilenetv2", 32, 16, 112, 1),
    ]
    channels, size = 16, 112
    for out, stride in ((24, 2), (32, 2), (64, 2), (96, 1), (160, 2), (320, 1)):
        for block_stride, block_in in ((stride, channels), (1, out)):
            wide = 6 * block_in
            layers.append(Layer("mobilenetv2", block_in, wide, size, 1))
            layers.append(Layer("mobilenetv2", wide, wide, size, 3, block_stride, groups=wide))
            size //= block_stride
            layers.append(Layer("mobilenetv2", wide, out, size, 1))
            if out == 320:  # the last stage has one block
                break
        channels = out
    return [*layers, Layer("mobilenetv2", 320, 1280, 7, 1)]


# Few channels per group and large images: where a matrix of columns is mostly traffic.
_SHALLOW = [
    Layer("shallow", 4, 16, 224, 3),
    Layer("shallow", 8, 16, 128, 5),
    Layer("shallow", 12, 24, 112, 3),
    Layer("shallow", 16, 16, 160, 3),
    Layer("shallow", 20, 32, 96, 3),
    Layer("shallow", 28, 28, 65, 3),
    Layer("shallow", 32, 32, 96, 3, groups=4),
]

# ResNeXt-50 32x4d has 4 to 32 channels per group; the first is a layer that peers were timed on.
_GROUPED = [
    Layer("grouped", 128, 128, 56, 3, groups=4),
    Layer("grouped", 128, 128, 56, 3, groups=32),
    Layer("grouped", 256, 256, 56, 3, 2, groups=32),
    Layer("grouped", 256, 256, 28, 3, groups=32),
    Layer("grouped", 512, 512, 14, 3, groups=32),
    Layer("grouped", 1024, 1024, 7, 3, groups=32),
    Layer("grouped", 240, 240, 28, 1, groups=3),
]

# What other libraries were timed on, in one table with ours (see README.md).
PEERS = (
    "3-64_224_7x7_s2",
    "64-64_56_3x3",
    "128-128_28_3x3",
    "128-128_56_3x3_s2",
    "256-256_14_3x3",
    "512-512_7_3x3",
    "64-256_56_1x1",
    "256-64_56_1x1",
    "1024-256_14_1x1",
    "512-2048_7_1x1",
    "96-24_56_1x1",
    "960-320_7_1x1",
    "32-32_112_3x3_dw",
    "144-144_56_3x3_dw",
    "128-128_56_3x3_g4",
)
QUICK = ("28-28_65_3x3", "960-320_7_1x1", "960-960_7_3x3_dw")

_ALL = [*_resnet50(), *_mobilenetv2(), *_SHALLOW, *_GROUPED]
# Layers that several networks have are listed once, with the first.
LAYERS = {layer.name: layer for layer in reversed(_ALL)}
LAYERS = dict(reversed(LAYERS.items()))
NETWORKS = tuple(dict.fromkeys(layer.network for layer in LAYERS.values()))
