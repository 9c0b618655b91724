"""What peers.py compares: things that run, each with its result and its samples."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.layers import Layer as Shape
from benchmarks.ncnn_files import (
    Float32,
    Layer,
    convolution,
    float_weights,
    int8_form,
    int8_weights,
    render,
)
from tests.cases.case import Case
from vkbackend.errors import InputError
from vkbackend.graph import Array, Quantization, TensorType
from vkbackend.ops import Conv2d

CLOCKS = ("wall", "cpu")
COPIES = 4  # of a layer in ncnn's longer network
X_SCALE = 0.02
GREATEST = 127  # ncnn's int8 has no -128


@dataclass
class Contestant:
    """A name, and runs whose times are added up with a weight each: one sample."""

    name: str
    runs: Sequence[tuple[Callable[[], Any], float]]
    note: str = ""  # how its result compares
    samples_us: dict[str, list[float]] = field(
        default_factory=lambda: {clock: [] for clock in CLOCKS}
    )

    def sample(self) -> None:
        """Runs once and keeps the times: as the clock on the wall has it, and of all threads."""
        wall = cpu = 0.0
        for run, weight in self.runs:
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            run()
            wall += weight * (time.perf_counter() - wall_s)
            cpu += weight * (time.process_time() - cpu_s)
        self.samples_us["wall"].append(wall * 1e6)
        self.samples_us["cpu"].append(cpu * 1e6)

    def median_us(self, clock: str) -> float:
        """The middle sample."""
        return float(np.median(self.samples_us[clock]))


def require(module: str) -> Any:
    """An optional package. InputError says how to install it."""
    try:
        return __import__(module)
    except ImportError:
        raise InputError(
            f'{module} is not installed: pip install "vkbackend[peers]"; or leave it out with '
            "--without"
        ) from None


# -- one layer ------------------------------------------------------------------------------------


def symmetric_case(shape: Shape) -> Case:
    """A layer that every peer can compute: no zero points, one weight scale per group."""
    rng = np.random.default_rng(len(shape.name))
    groups, side = shape.groups, shape.kernel // 2
    size = (shape.out_channels, shape.in_channels // groups, shape.kernel, shape.kernel)
    weight = rng.integers(-GREATEST, GREATEST + 1, size).astype(np.int8)
    scale = rng.uniform(0.0025, 0.0075, shape.out_channels if groups == 1 else groups)
    y_scale = X_SCALE * 0.005 * 73 * 73 * np.sqrt(weight[0].size) / 40
    constants = {
        "weight": weight,
        "weight_scale": np.repeat(scale, shape.out_channels // scale.size).astype(np.float32),
        "bias": rng.integers(-2000, 2000, shape.out_channels).astype(np.int32),
    }
    op = Conv2d(
        Quantization(float(np.float32(y_scale)), 0),
        stride=(shape.stride, shape.stride),
        padding=(side, side, side, side),
        groups=groups,
        clamp=(-GREATEST, GREATEST),
    )
    image = TensorType((1, shape.in_channels, shape.size, shape.size), Quantization(X_SCALE, 0))
    return Case(shape.name, op, [image], constants)


class Ncnn:
    """ncnn on the Vulkan device of that name."""

    def __init__(self, device: str, threads: int) -> None:
        # Read when ncnn is loaded; idle threads that spin slow the next one down.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        self.module = require("ncnn")
        names = [
            self.module.get_gpu_info(index).device_name()
            for index in range(self.module.get_gpu_count())
        ]
        if device not in names:
            raise InputError(f"ncnn has no Vulkan device {device!r}: it has {', '.join(names)}")
        self._index = names.index(device)
        self._threads = threads
        self._nets: list[Any] = []

    def load(self, layers: Sequence[Layer], x: str, y: str, image: Float32) -> Callable[[], Any]:
        """A network as a call without arguments that gives its output."""
        int8 = any(key == 8 for layer in layers for key in layer.parameters)
        net = self.module.Net()
        net.opt.use_vulkan_compute = True
        net.opt.num_threads = self._threads
        halves = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic")
        for option in halves:
            setattr(net.opt, option, int8)
        net.opt.use_bf16_storage = False
        net.set_vulkan_device(self._index)
        text, binary = render(layers, hints=True)
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "net.param"), Path(folder, "net.bin")
            files[0].write_text(text)
            files[1].write_bytes(binary)
            if net.load_param(str(files[0])) or net.load_model(str(files[1])):
                raise InputError("ncnn does not load the network that was written for it")
        self._nets.append(net)
        matrix = self.module.Mat(np.ascontiguousarray(image)).clone()

        def run() -> Any:
            extractor = net.create_extractor()
            extractor.input(x, matrix)
            status, result = extractor.extract(y)
            if status:
                raise InputError(f"ncnn gives the status {status}")
            return result

        return run

    def close(self) -> None:
        """Frees the networks, then the device."""
        self._nets.clear()
        self.module.destroy_gpu_instance()

    def layer(self, shape: Shape, case: Case, expected: Array, *, int8: bool) -> Contestant:
        """One convolution: the time of more copies of it less that of one, so that upload,
        download and submission cancel.
        """
        name = "ncnn int8" if int8 else "ncnn fp32"
        image = case.arrays()[0][0].astype(np.float32) * np.float32(X_SCALE)
        chain = _LayerChain(shape, case, int8)
        (result,) = (np.array(self.load(chain.alone(), "x", "y0", image)()),)
        note = _difference(result if int8 else _quantized(result, case), expected[0])
        one, more = (
            self.load(chain.copies(count), "x", y, image)
            for count, y in ((1, "z0"), (1 + COPIES, "sum"))
        )
        return Contestant(name, [(more, 1 / COPIES), (one, -1 / COPIES)], note)


@dataclass(frozen=True)
class _LayerChain:
    """Networks of copies of one convolution, each with a sink that costs next to nothing."""

    shape: Shape
    case: Case
    int8: bool

    def _head(self) -> list[Layer]:
        size = self.shape.size, self.shape.size, self.shape.in_channels
        head = [Layer("Input", "x", [], ["x"], size, {0: size[0], 1: size[1], 2: size[2]})]
        if self.int8:
            scale = np.array([1 / X_SCALE], np.float32).tobytes()
            head.append(Layer("Quantize", "quantize", ["x"], ["q"], size, {0: 1}, scale))
        return head

    def _copy(self, number: int) -> Layer:
        constants, shape = self.case.constants, self.shape
        weight, scale = constants["weight"], constants["weight_scale"]
        bias = constants["bias"] * (np.float32(X_SCALE) * scale)
        side = -(-shape.size // shape.stride)
        if self.int8:
            groups = scale if shape.groups == 1 else scale[:: scale.size // shape.groups]
            scales = (1 / X_SCALE, 1 / self._y_scale)
            weights = int8_weights(weight, bias.astype(np.float32), 1 / groups, scales)
        else:
            values = weight * scale.reshape(-1, 1, 1, 1)
            weights = float_weights(values.astype(np.float32), bias.astype(np.float32))
        return convolution(
            f"conv{number}", "q" if self.int8 else "x", f"y{number}",
            (side, side, shape.out_channels), weight.shape,
            stride=shape.stride, pad=shape.kernel // 2, groups=shape.groups,
            int8=int8_form(shape.groups, int8_out=True) if self.int8 else 0, weights=weights,
        )  # fmt: skip

    @property
    def _y_scale(self) -> float:
        op = self.case.op
        assert isinstance(op, Conv2d)
        return op.output.scale

    def alone(self) -> list[Layer]:
        """The convolution, its output as it is."""
        return [*self._head(), self._copy(0)]

    def copies(self, count: int) -> list[Layer]:
        """So many beside each other; each output is read at one pixel, and these are added up."""
        layers, channels = self._head(), self.shape.out_channels
        for number in range(count):
            layers.append(self._copy(number))
            ones = np.ones((channels, 1, 1, 1), np.float32)
            zeros = np.zeros(channels, np.float32)
            weights = float_weights(ones, zeros)
            if self.int8:
                stored = np.full((channels, 1, 1, 1), GREATEST, np.int8)
                scales = GREATEST * ones.reshape(-1)
                weights = int8_weights(stored, zeros, scales, [1 / self._y_scale])
            sink = convolution(
                f"sink{number}",
                f"y{number}",
                f"z{number}",
                (1, 1, channels),
                ones.shape,
                stride=self.shape.size,
                pad=0,
                groups=channels,
                int8=1 if self.int8 else 0,
                weights=weights,
            )
            layers.append(sink)
        if count == 1:
            return layers
        outputs = [f"z{number}" for number in range(count)]
        return [*layers, Layer("Eltwise", "sum", outputs, ["sum"], (1, 1, channels), {0: 1})]


def onnxruntime_layer(shape: Shape, case: Case, expected: Array, threads: int) -> Contestant:
    """QLinearConv on the CPU, activations uint8 with a zero point of 128: the same numbers."""
    runtime, onnx = require("onnxruntime"), require("onnx")
    op, constants = case.op, case.constants
    assert isinstance(op, Conv2d)
    image = (case.arrays()[0].astype(np.int16) + 128).astype(np.uint8)
    middle = np.array(128, np.uint8)
    values: list[tuple[str, npt.NDArray[Any]]] = [
        ("x_scale", np.array(X_SCALE, np.float32)), ("x_zero", middle),
        ("w", constants["weight"]), ("w_scale", constants["weight_scale"]),
        ("w_zero", np.zeros(shape.out_channels, np.int8)),
        ("y_scale", np.array(op.output.scale, np.float32)), ("y_zero", middle),
        ("bias", constants["bias"]),
    ]  # fmt: skip
    from onnx import helper, numpy_helper

    node = helper.make_node(
        "QLinearConv", ["x", *(name for name, _ in values)], ["y"], kernel_shape=[shape.kernel] * 2,
        strides=[shape.stride] * 2, pads=[shape.kernel // 2] * 4, group=shape.groups,
    )  # fmt: skip
    byte = onnx.TensorProto.UINT8
    graph = helper.make_graph(
        [node], "layer",
        [helper.make_tensor_value_info("x", byte, image.shape)],
        [helper.make_tensor_value_info("y", byte, None)],
        [numpy_helper.from_array(array, name) for name, array in values],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = session_of(runtime, model.SerializeToString(), threads)
    result = session.run(None, {"x": image})[0].astype(np.int16) - 128
    note = _difference(np.clip(result, -GREATEST, GREATEST), expected)
    return Contestant("ONNX Runtime", [(lambda: session.run(None, {"x": image}), 1.0)], note)


def session_of(runtime: Any, model: bytes | str, threads: int) -> Any:
    """ONNX Runtime on the CPU with so many threads."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle threads that spin would count as processor time of whoever runs next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _quantized(values: npt.NDArray[Any], case: Case) -> npt.NDArray[Any]:
    op = case.op
    assert isinstance(op, Conv2d)
    return np.clip(np.rint(values / op.output.scale), -GREATEST, GREATEST)


def _difference(result: npt.NDArray[Any], expected: Array) -> str:
    """How far apart; InputError where they are not the same layer."""
    apart = np.abs(result.astype(np.float64) - expected)
    if apart.shape != expected.shape:
        raise InputError(f"a peer gives {result.shape} where NumPy gives {expected.shape}")
    greatest = int(apart.max())
    if not greatest:
        return "equal"
    return f"off by {greatest} at {100 * np.count_nonzero(apart) / apart.size:.1f}%"
