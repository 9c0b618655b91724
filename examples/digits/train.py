"""Trains the demo's digit network and writes vkbackend/demo/digits.onnx and digits_float.onnx.

    python examples/digits/train.py

Seeded, on one CPU core, in under a minute. README.md beside this file says what it needs.
"""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn
from torch.nn import functional

from vkbackend.demo import digits_data

FOLDER = Path(__file__).resolve().parents[2] / "vkbackend" / "demo"
MADE_BY = "made by examples/digits/train.py from scikit-learn's digits"
MEANING = "image: one scan, 0 (paper) to 16 (ink); logits: one score per digit"
SEED = 0
EPOCHS = 100
BATCH_SIZE = 50
PEAK_LEARNING_RATE = 4e-3
OPSET = 17
IR_VERSION = 8
INT8_OPERATORS = {
    "QuantizeLinear",
    "QLinearConv",
    "QLinearAdd",
    "Transpose",
    "NhwcMaxPool",
    "QLinearGlobalAveragePool",
    "Flatten",
    "QGemm",
    "DequantizeLinear",
}
"""What ONNX Runtime may make of the quantised network: all work on int8 between the two ends."""


# The network, as a table. Training and export both walk it.


@dataclass(frozen=True)
class Convolution:
    """Same padding; batch norm while training, folded into weights and bias when exported."""

    name: str
    source: str
    input_channels: int
    output_channels: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    relu: bool = True


@dataclass(frozen=True)
class Add:
    """The sum of two tensors of one shape."""

    name: str
    source: str
    other: str


@dataclass(frozen=True)
class MaxPool:
    """The maximum of each 2x2 window, stride 2."""

    name: str
    source: str


@dataclass(frozen=True)
class GlobalAveragePool:
    """The mean over height and width: [n, c, h, w] to [n, c, 1, 1]."""

    name: str
    source: str


@dataclass(frozen=True)
class Flatten:
    """[n, c, 1, 1] to [n, c]."""

    name: str
    source: str


@dataclass(frozen=True)
class Linear:
    """The last layer; its output is the network's, so it is called logits."""

    name: str
    source: str
    input_features: int
    output_features: int


Layer = Convolution | Add | MaxPool | GlobalAveragePool | Flatten | Linear

NETWORK: tuple[Layer, ...] = (
    Convolution("stem", "image", 1, 32),
    Convolution("block1.grouped", "stem", 32, 32, groups=4),
    Convolution("block1.pointwise", "block1.grouped", 32, 32, kernel=1, relu=False),
    Add("block1.add", "stem", "block1.pointwise"),
    Convolution("downsample", "block1.add", 32, 32, stride=2),
    Convolution("block2.depthwise", "downsample", 32, 32, groups=32),
    Convolution("block2.pointwise", "block2.depthwise", 32, 64, kernel=1),
    Convolution("block3.grouped", "block2.pointwise", 64, 64, groups=8),
    Convolution("block3.pointwise", "block3.grouped", 64, 64, kernel=1, relu=False),
    Add("block3.add", "block2.pointwise", "block3.pointwise"),
    MaxPool("pool", "block3.add"),
    Convolution("block4.pointwise", "pool", 64, 96, kernel=1),
    GlobalAveragePool("average", "block4.pointwise"),
    Flatten("flatten", "average"),
    Linear("classifier", "flatten", 96, 10),
)


# Training


def make_modules() -> dict[str, nn.Module]:
    """The trainable part of each layer that has one, by the layer's name."""
    modules: dict[str, nn.Module] = {}
    for layer in NETWORK:
        if isinstance(layer, Convolution):
            convolution = nn.Conv2d(
                layer.input_channels,
                layer.output_channels,
                layer.kernel,
                stride=layer.stride,
                padding=layer.kernel // 2,
                groups=layer.groups,
                bias=False,
            )
            modules[layer.name] = nn.Sequential(convolution, nn.BatchNorm2d(layer.output_channels))
        elif isinstance(layer, Linear):
            modules[layer.name] = nn.Linear(layer.input_features, layer.output_features)
    return modules


def forward(modules: dict[str, nn.Module], images: Tensor) -> Tensor:
    """Logits [n, 10] of scans [n, 1, 8, 8]."""
    values = {"image": images}
    for layer in NETWORK:
        value = values[layer.source]
        match layer:
            case Convolution():
                value = modules[layer.name](value)
                value = value.relu() if layer.relu else value
            case Add():
                value = value + values[layer.other]
            case MaxPool():
                value = functional.max_pool2d(value, 2)
            case GlobalAveragePool():
                value = value.mean((2, 3), keepdim=True)
            case Flatten():
                value = value.flatten(1)
            case Linear():
                value = modules[layer.name](value)
        values[layer.name] = value
    return value


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Scans [n, 1, 8, 8] turned by up to 10 degrees, stretched, sheared, shifted, made noisy."""

    def between(limit: float) -> Tensor:
        return (torch.rand(len(images), generator=generator) * 2 - 1) * limit

    angle, size, shear = between(np.pi / 18), 1 + between(0.1), between(0.1)
    shift_x, shift_y = between(0.25), between(0.25)  # the image is 2 wide: a pixel is 0.25
    rows = (
        torch.stack([size * angle.cos(), shear - angle.sin(), shift_x], 1),
        torch.stack([angle.sin(), size * angle.cos(), shift_y], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False)
    return (moved + 0.5 * torch.randn(moved.shape, generator=generator)).clamp(0, 16)


def batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Index vectors [BATCH_SIZE] over all epochs, newly shuffled in each."""
    for epoch in range(EPOCHS):
        if epoch % 20 == 0:
            print(f"epoch {epoch} of {EPOCHS}", flush=True)
        yield from torch.split(torch.randperm(count, generator=generator), BATCH_SIZE)


def train(images: Tensor, labels: Tensor) -> dict[str, nn.Module]:
    """The trained modules, in inference mode. A fixed number of epochs: nothing stops it early."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    modules = make_modules()
    parameters = [each for module in modules.values() for each in module.parameters()]
    optimiser = torch.optim.AdamW(parameters, PEAK_LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, PEAK_LEARNING_RATE, total_steps=EPOCHS * (len(images) // BATCH_SIZE)
    )
    for indices in batches(len(images), generator):
        logits = forward(modules, augment(images[indices], generator))
        loss = functional.cross_entropy(logits, labels[indices], label_smoothing=0.05)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    for module in modules.values():
        module.eval()
    return modules


# Export


def folded(module: nn.Module) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [oc, ic / groups, kh, kw] or [out, in] and bias [oc], batch norm folded into both."""
    state = {name: value.double().numpy() for name, value in module.state_dict().items()}
    if "1.running_var" not in state:
        return state["weight"].astype(np.float32), state["bias"].astype(np.float32)
    factor = state["1.weight"] / np.sqrt(state["1.running_var"] + nn.BatchNorm2d(1).eps)
    weights = state["0.weight"] * factor[:, np.newaxis, np.newaxis, np.newaxis]
    bias = state["1.bias"] - state["1.running_mean"] * factor
    return weights.astype(np.float32), bias.astype(np.float32)


def convolution_nodes(layer: Convolution) -> list[onnx.NodeProto]:
    """Conv, and Relu where the layer has one."""
    before_relu = f"{layer.name}.before_relu" if layer.relu else layer.name
    convolution = helper.make_node(
        "Conv",
        [layer.source, f"{layer.name}.weight", f"{layer.name}.bias"],
        [before_relu],
        layer.name,
        kernel_shape=[layer.kernel] * 2,
        pads=[layer.kernel // 2] * 4,
        strides=[layer.stride] * 2,
        group=layer.groups,
    )
    relu = helper.make_node("Relu", [before_relu], [layer.name], f"{layer.name}.relu")
    return [convolution, relu] if layer.relu else [convolution]


def layer_nodes(layer: Layer) -> list[onnx.NodeProto]:
    """The layer as ONNX nodes; its output tensor bears its name."""
    name, source = layer.name, layer.source
    match layer:
        case Convolution():
            return convolution_nodes(layer)
        case Add():
            return [helper.make_node("Add", [source, layer.other], [name], name)]
        case MaxPool():
            window = [2, 2]
            return [
                helper.make_node(
                    "MaxPool", [source], [name], name, kernel_shape=window, strides=window
                )
            ]
        case GlobalAveragePool() | Flatten():
            return [helper.make_node(type(layer).__name__, [source], [name], name)]
        case Linear():
            inputs = [source, f"{name}.weight", f"{name}.bias"]
            return [helper.make_node("Gemm", inputs, ["logits"], name, transB=1)]


def make_onnx(modules: dict[str, nn.Module]) -> onnx.ModelProto:
    """The float network for one scan: image [1, 1, 8, 8] to logits [1, 10]."""
    initializers = []
    for name, module in modules.items():
        weight, bias = folded(module)
        initializers.append(numpy_helper.from_array(weight, f"{name}.weight"))
        initializers.append(numpy_helper.from_array(bias, f"{name}.bias"))
    graph = helper.make_graph(
        [node for layer in NETWORK for node in layer_nodes(layer)],
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        initializers,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def save(model: onnx.ModelProto, kind: str, path: Path) -> None:
    """Checks the model, says in it where it comes from, and writes it."""
    model.producer_name, model.producer_version = "vkbackend", ""
    model.doc_string = f"{MADE_BY}; {kind}; {MEANING}"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


# Quantisation


class CalibrationScans:
    """Hands scans [n, 1, 8, 8] to the calibrator, one at a time."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self.feeds = ({"image": image[np.newaxis]} for image in images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input, or None after the last."""
        return next(self.feeds, None)


def quantise(model: onnx.ModelProto, images: NDArray[np.float32]) -> onnx.ModelProto:
    """uint8 activations, int8 weights with a scale per output channel, ranges from the images."""
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "float.onnx", Path(folder) / "quantised.onnx"
        onnx.save(model, source)  # quantize_static would empty a model handed over in memory
        quantize_static(
            source,
            path,
            CalibrationScans(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(path)


# Checks, with ONNX Runtime


def open_session(model: onnx.ModelProto, optimised: Path | None = None) -> Any:
    """A session of one thread that runs quantised networks in int8; the graph it runs, if asked."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.add_session_config_entry("session.x64quantprecision", "1")
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def logits_of(model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits [n, 10] of scans [n, 1, 8, 8], one scan at a time."""
    session = open_session(model)
    return np.concatenate([session.run(None, {"image": each[np.newaxis]})[0] for each in images])


def accuracy_percent(
    model: onnx.ModelProto, images: NDArray[np.float32], labels: NDArray[np.int64]
) -> float:
    """The share of scans whose largest logit is the right digit."""
    return 100 * float(np.mean(logits_of(model, images).argmax(axis=1) == labels))


def check_int8(model: onnx.ModelProto) -> None:
    """Raises when ONNX Runtime would run any part of the quantised network in float."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        open_session(model, optimised=path)
        counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    print("ONNX Runtime runs:", ", ".join(f"{count} {name}" for name, count in counts.items()))
    ends = counts["QuantizeLinear"], counts["DequantizeLinear"]
    if not counts.keys() <= INT8_OPERATORS or ends != (1, 1):
        raise RuntimeError(f"the quantised network is not int8 throughout: {dict(counts)}")


def main() -> None:
    """Trains, exports, quantises, checks, and prints what the held-out scans say."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser proposes float optimisations
    digits = digits_data.load()
    modules = train(torch.from_numpy(digits.train_images), torch.from_numpy(digits.train_labels))
    model = make_onnx(modules)
    quantised = quantise(model, digits.train_images)
    check_int8(quantised)
    save(model, "float", FOLDER / "digits_float.onnx")
    save(quantised, "int8", FOLDER / "digits.onnx")
    for name, network in (("float", model), ("int8", quantised)):
        percent = accuracy_percent(network, digits.test_images, digits.test_labels)
        print(f"{name}: {percent:.2f}% of {len(digits.test_labels)} held-out scans are right")


if __name__ == "__main__":
    main()
