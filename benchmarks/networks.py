"""Whole networks with made weights, quantised by ONNX Runtime: for tests and timings.

python benchmarks/networks.py FOLDER [NAME ...] [--size 224]

The weights are random and seeded: the networks classify nothing, but have the shapes, the operators
and the scales of real ones. Batch, height and width are left open.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.stages import MOBILENETV2, RESNET50

Float32 = npt.NDArray[np.float32]
FORM = 1  # raise it when a network or the way it is quantised changes: cached files have it
OPSET = 17


class Builder:
    """Float layers one behind the other; a tensor is its name, its channels are remembered."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.channels: dict[str, int] = {"image": 3}

    def node(self, op_type: str, inputs: Sequence[str], channels: int, **attributes: Any) -> str:
        """A node of one output, named by its operator and number."""
        name = f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name, **attributes))
        self.channels[name] = channels
        return name

    def constant(self, values: npt.ArrayLike, dtype: str = "float32") -> str:
        """An initializer."""
        name = f"constant{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def conv(self, x: str, filters: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> str:
        """A convolution with bias, its batch normalisation folded into scales per channel."""
        shape = (filters, self.channels[x] // groups, kernel, kernel)
        deviation = np.sqrt(2 / np.prod(shape[1:]))
        spread = self.rng.uniform(0.5, 1.5, (filters, 1, 1, 1))
        weight = self.constant(self.rng.normal(0, deviation, shape) * spread)
        bias = self.constant(self.rng.normal(0, 0.1, filters))
        options = {"pads": [kernel // 2] * 4, "strides": [stride] * 2, "group": groups}
        return self.node("Conv", [x, weight, bias], filters, **options)

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.node("Relu", [x], self.channels[x])

    def relu6(self, x: str) -> str:
        """x between 0 and 6."""
        limits = [self.constant(0), self.constant(6)]
        return self.node("Clip", [x, *limits], self.channels[x])

    def silu(self, x: str) -> str:
        """x times its sigmoid."""
        return self.mul(x, self.node("Sigmoid", [x], self.channels[x]))

    def add(self, a: str, b: str) -> str:
        """The sum."""
        return self.node("Add", [a, b], self.channels[a])

    def mul(self, a: str, b: str) -> str:
        """The product."""
        return self.node("Mul", [a, b], self.channels[a])

    def max_pool(self, x: str, kernel: int, stride: int, pad: int = 0) -> str:
        """The greatest of each window."""
        options = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.node("MaxPool", [x], self.channels[x], **options)

    def mean(self, x: str) -> str:
        """The mean of each image."""
        return self.node("GlobalAveragePool", [x], self.channels[x])

    def classifier(self, x: str, classes: int) -> str:
        """Mean, and a matrix product over channels."""
        channels = self.channels[x]
        flat = self.node("Flatten", [self.mean(x)], channels)
        weight = self.constant(self.rng.normal(0, np.sqrt(1 / channels), (classes, channels)))
        bias = self.constant(self.rng.normal(0, 0.1, classes))
        return self.node("Gemm", [flat, weight, bias], classes, transB=1)

    def model(self, output: str) -> onnx.ModelProto:
        """The network from `image` to `output`."""
        sizes = ["batch", 3, "height", "width"]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, sizes)
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "network", [image], [result], self.weights)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def mobilenetv2(seed: int = 0) -> onnx.ModelProto:
    """MobileNetV2 1.0 (Sandler et al. 2018, table 2)."""
    net = Builder(seed)
    x = net.relu6(net.conv("image", 32, stride=2))
    for expand, filters, blocks, first_stride in MOBILENETV2:
        for block in range(blocks):
            start, wide = x, net.channels[x] * expand
            hidden = x if expand == 1 else net.relu6(net.conv(x, wide, 1))
            stride = first_stride if block == 0 else 1
            hidden = net.relu6(net.conv(hidden, wide, 3, stride, groups=wide))
            x = net.conv(hidden, filters, 1)
            x = net.add(start, x) if block else x
    return net.model(net.classifier(net.relu6(net.conv(x, 1280, 1)), 1000))


def resnet50(seed: int = 0) -> onnx.ModelProto:
    """ResNet-50 (He et al. 2015), stride in the 3x3 convolution."""
    net = Builder(seed)
    x = net.max_pool(net.relu(net.conv("image", 64, 7, 2)), 3, 2, 1)
    for stage, (width, blocks) in enumerate(RESNET50):
        for block in range(blocks):
            stride = 2 if stage and block == 0 else 1
            hidden = net.relu(net.conv(x, width, 1))
            hidden = net.relu(net.conv(hidden, width, 3, stride))
            hidden = net.conv(hidden, 4 * width, 1)
            shortcut = net.conv(x, 4 * width, 1, stride) if block == 0 else x
            x = net.relu(net.add(hidden, shortcut))
    return net.model(net.classifier(x, 1000))


def unet(seed: int = 0) -> onnx.ModelProto:
    """A U-Net (Ronneberger et al. 2015) of four levels that upsamples bilinearly."""
    net = Builder(seed)

    def level(x: str, filters: int) -> str:
        return net.relu(net.conv(net.relu(net.conv(x, filters)), filters))

    x, skipped = level("image", 16), []
    for filters in (32, 64, 128):
        skipped.append(x)
        x = level(net.max_pool(x, 2, 2), filters)
    for skip in reversed(skipped):
        scales = net.constant([1, 1, 2, 2])
        x = net.node("Resize", [x, "", scales], net.channels[x], mode="linear")
        both = net.channels[x] + net.channels[skip]
        x = level(net.node("Concat", [skip, x], both, axis=1), net.channels[skip])
    return net.model(net.conv(x, 4, 1))


def efficientnet(seed: int = 0) -> onnx.ModelProto:
    """EfficientNet-B0 (Tan and Le 2019, table 1): squeeze-and-excite in every block."""
    net = Builder(seed)

    def excited(x: str, squeezed: int) -> str:
        gate = net.conv(net.silu(net.conv(net.mean(x), squeezed, 1)), net.channels[x], 1)
        return net.mul(x, net.node("Sigmoid", [gate], net.channels[x]))

    x = net.silu(net.conv("image", 32, stride=2))
    stages = (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )
    for expand, filters, blocks, first_stride, kernel in stages:
        for block in range(blocks):
            start, wide = x, net.channels[x] * expand
            hidden = x if expand == 1 else net.silu(net.conv(x, wide, 1))
            stride = first_stride if block == 0 else 1
            hidden = net.silu(net.conv(hidden, wide, kernel, stride, groups=wide))
            x = net.conv(excited(hidden, max(1, net.channels[start] // 4)), filters, 1)
            x = net.add(start, x) if block else x
    return net.model(net.classifier(net.silu(net.conv(x, 1280, 1)), 1000))


NETWORKS: dict[str, Callable[[int], onnx.ModelProto]] = {
    "mobilenetv2": mobilenetv2,
    "resnet50": resnet50,
    "unet": unet,
    "efficientnet": efficientnet,
}


class Images(CalibrationDataReader):  # type: ignore[misc]
    """A few random images, from which the quantiser learns every tensor's range."""

    def __init__(self, images: Iterable[Float32]) -> None:
        self._feeds = iter([{"image": image} for image in images])

    def get_next(self) -> dict[str, Float32] | None:
        """The next one, or None."""
        return next(self._feeds, None)


def images(count: int, size: int, seed: int = 1) -> Float32:
    """Smooth random images (n, 3, size, size): noise of several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((count, 3, size, size), np.float32)
    for step in (1, 4, 16):
        coarse = rng.normal(size=(count, 3, -(-size // step), -(-size // step)))
        fine = np.kron(coarse, np.ones((1, 1, step, step)))[:, :, :size, :size]
        total += fine.astype(np.float32)
    return total / np.float32(np.sqrt(3))


@contextlib.contextmanager
def quiet_quantizer() -> Iterator[None]:
    """Without the quantiser's proposals of float optimisations, which it logs at the root."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def quantized(name: str, folder: Path, *, size: int = 224, seed: int = 0) -> Path:
    """The quantised network in a folder: made where it is not there yet.

    QDQ form, activations uint8, weights int8 with a scale per output channel; ranges from two
    images of that size.
    """
    path = folder / f"{name}.{size}.{seed}.{FORM}.onnx"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_quantizer(), tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "float.onnx"), Path(scratch, "quantized.onnx")
        onnx.save(NETWORKS[name](seed), source)
        quantize_static(
            source,
            target,
            Images(np.split(images(2, size), 2)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        partial = path.with_suffix(".partial")
        partial.write_bytes(target.read_bytes())
    partial.replace(path)
    return path


def main() -> None:
    """Makes the networks that are asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--size", type=int, default=224, help="of the images (default: 224)")
    options = parser.parse_args()
    for name in options.names or NETWORKS:
        print(quantized(name, options.folder, size=options.size))


if __name__ == "__main__":
    main()
