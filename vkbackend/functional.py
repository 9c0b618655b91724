"""One convolution, any algorithm and layout, NumPy in and out: for people who study kernels."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vkbackend import env
from vkbackend.device import Device
from vkbackend.errors import DeviceError, InputError
from vkbackend.graph import RANGES, Array, Graph, GraphBuilder, Quantization, TensorType
from vkbackend.layouts import CHANNEL_PACKED
from vkbackend.ops.conv2d import Conv2d
from vkbackend.runtime import load

Pair = int | tuple[int, int]
Padding = int | tuple[int, int] | tuple[int, int, int, int]
Selector = int | str | None

# Devices stay open between calls; each closes itself when Python ends.
_devices: dict[tuple[Selector, str], Device] = {}
_lock = threading.Lock()


def conv2d(
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    x_scale: float,
    x_zero_point: int,
    w_scale: float | Sequence[float] | Array,
    y_scale: float,
    y_zero_point: int,
    w_zero_point: int | Sequence[int] | Array = 0,
    y_dtype: str | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    clamp: tuple[int, int] | None = None,
    requantize: str = "float",
    algorithm: str | None = None,
    layout: str | tuple[str, str] | None = None,
    device: Device | Selector = None,
) -> Array:
    """One quantised convolution on a Vulkan device, in the same bits whichever way it is computed.

    `x` is int8 or uint8 [n, ic, h, w]; `w` int8 [oc, ic / groups, kh, kw]; `bias` int32 [oc], in
    units of x_scale * w_scale. `w_scale` is one number or one per output channel. `padding` is an
    int, (h, w) or (top, left, bottom, right). `clamp` bounds y's values. y has x's dtype unless
    `y_dtype` is given.

    `algorithm` is one of ops.conv2d.operator.ALGORITHMS, such as direct or im2col, also with a dot
    product and a tile ("im2col/signed@4x2"); `layout` is 4C, 4C1W or 4W4C, or (input, output). What
    is not given is chosen for the device. InputError, GraphError and ResolveError say what does not
    fit.
    """
    _verify(x, w, bias)
    operator = Conv2d(
        Quantization(y_scale, int(y_zero_point), y_dtype or x.dtype.name),
        _pair(stride, "stride"),
        _sides(padding),
        _pair(dilation, "dilation"),
        groups,
        clamp,
        requantize,
    )
    constants = {"weight": w, "weight_scale": np.array(w_scale, np.float32).reshape(-1)}
    if bias is not None:
        constants["bias"] = bias
    if np.any(w_zero_point):
        constants["weight_zero_point"] = np.array(w_zero_point, np.int32).reshape(-1)
    x_type = TensorType(x.shape, Quantization(x_scale, int(x_zero_point), x.dtype.name))
    graph = _graph(x_type, operator, constants)
    y: Array = _run(graph, x, _force(algorithm, layout), device)
    return y


def _graph(x_type: TensorType, operator: Conv2d, constants: Mapping[str, Array]) -> Graph:
    builder = GraphBuilder()
    builder.input("x", x_type)
    builder.add("conv2d", operator, ["x"], "y", constants)
    return builder.build(["y"])


def _run(graph: Graph, x: Array, force: str | None, device: Device | Selector) -> Any:
    if isinstance(device, Device):
        with load(graph, device=device, force=force) as model:
            return model(x)
    key = (device, env.DEVICE.read())
    with _lock:
        if key not in _devices:
            _devices[key] = Device.open(device)
        opened = _devices[key]
    try:
        with load(graph, device=opened, force=force) as model:
            return model(x)
    except DeviceError:
        # A lost device stays lost: the next call opens it anew.
        _devices.pop(key, None)
        raise


def _force(algorithm: str | None, layout: str | tuple[str, str] | None) -> str | None:
    """The rule that asks for this algorithm and these layouts; None where nothing is asked."""
    if algorithm is None and layout is None:
        return None
    layouts = (layout, layout) if isinstance(layout, str) else layout or ("", "")
    if len(layouts) != 2 or not {"", *CHANNEL_PACKED}.issuperset(layouts):
        names = ", ".join(CHANNEL_PACKED)
        raise InputError(f"layout is one of {names}, or (input, output), got {layout!r}")
    return ":".join(("conv2d", algorithm or "*", *layouts)).rstrip(":")


def _verify(x: Array, w: Array, bias: Array | None) -> None:
    """The arrays' types; how their shapes fit together is the operator's to say."""
    for name, array in (("x", x), ("w", w), ("bias", bias)):
        if not isinstance(array, np.ndarray) and not (name == "bias" and array is None):
            raise InputError(f"{name} is a NumPy array, got {type(array).__name__}")
    if x.dtype.name not in RANGES or x.ndim != 4:
        raise InputError(f"x is int8 or uint8 [n, ic, h, w], got {_described(x)}")
    if w.dtype != np.int8 or w.ndim != 4:
        raise InputError(f"w is int8 [oc, ic / groups, kh, kw], got {_described(w)}")
    if bias is not None and (bias.dtype != np.int32 or bias.shape != w.shape[:1]):
        raise InputError(f"bias is int32 [{w.shape[0]}], got {_described(bias)}")


def _described(array: Array) -> str:
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"


def _pair(value: Pair, name: str) -> tuple[int, int]:
    numbers = _numbers(value)
    if len(numbers) not in (1, 2):
        raise InputError(f"{name} is an int or (h, w), got {value!r}")
    return numbers[0], numbers[-1]


def _sides(padding: Padding) -> tuple[int, int, int, int]:
    """(top, left, bottom, right)."""
    numbers = _numbers(padding)
    if len(numbers) not in (1, 2, 4):
        raise InputError(
            f"padding is an int, (h, w) or (top, left, bottom, right), got {padding!r}"
        )
    top, left, bottom, right = numbers * (4 // len(numbers))
    return top, left, bottom, right


def _numbers(value: int | tuple[int, ...]) -> list[int]:
    """One number or several as a list; NumPy's integers too."""
    return [int(number) for number in np.atleast_1d(value)]
