"""functional.conv2d: the same bits from every algorithm and layout, and what it says to misuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vkbackend import functional
from vkbackend.device import Device
from vkbackend.errors import DeviceError, GraphError, InputError, ResolveError, VkBackendError
from vkbackend.graph import Array

SCALES = {"x_scale": 0.02, "x_zero_point": 3, "w_scale": 0.01, "y_scale": 0.5, "y_zero_point": -4}


def arrays(dtype: str = "int8", groups: int = 1, seed: int = 0) -> tuple[Array, Array, Array]:
    """x, w and bias over their types' ranges."""
    generator = np.random.default_rng(seed)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = generator.integers(low, high + 1, (2, 8, 7, 11), dtype)
    w = generator.integers(-128, 128, (12, 8 // groups, 3, 3), np.int8)
    return x, w, generator.integers(-5000, 5000, 12, np.int32)


def expected(
    x: Array,
    w: Array,
    bias: Array,
    *,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    w_zero_point: int = 0,
    y_dtype: str | None = None,
    y_zero_point: int = -4,
    clamp: tuple[int, int] | None = None,
) -> Array:
    """The formula of ONNX Runtime, written out pixel by pixel."""
    top, left, bottom, right = padding
    shifted = x.astype(np.int64) - SCALES["x_zero_point"]
    image = np.pad(shifted, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kernel = w.astype(np.int64) - w_zero_point
    reach = [(size - 1) * step + 1 for size, step in zip(w.shape[2:], dilation, strict=True)]
    rows = (image.shape[2] - reach[0]) // stride[0] + 1
    columns = (image.shape[3] - reach[1]) // stride[1] + 1
    sums = np.empty((len(x), len(w), rows, columns), np.int64)
    per_group = len(w) // groups
    for channel in range(len(w)):
        first = channel // per_group * w.shape[1]
        part = image[:, first : first + w.shape[1]]
        for row in range(rows):
            for column in range(columns):
                y, z = row * stride[0], column * stride[1]
                window = part[:, :, y : y + reach[0] : dilation[0], z : z + reach[1] : dilation[1]]
                sums[:, channel, row, column] = (window * kernel[channel]).sum((1, 2, 3))
    sums += bias[:, np.newaxis, np.newaxis]
    factor = np.float32(SCALES["x_scale"]) * np.float32(SCALES["w_scale"])
    factor /= np.float32(SCALES["y_scale"])
    values = np.rint(sums.astype(np.float32) * factor) + y_zero_point
    limits = np.iinfo(y_dtype or x.dtype)
    low, high = clamp or (limits.min, limits.max)
    return np.clip(values, low, high).astype(y_dtype or x.dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("algorithm", [None, "direct", "im2col", "im2col/plain@4x2"])
@pytest.mark.parametrize("layout", [None, "4C", "4C1W", ("4W4C", "4C")])
def test_every_way_gives_the_same_bits(
    device: Device, dtype: str, algorithm: str | None, layout: Any
) -> None:
    x, w, bias = arrays(dtype)
    scales = SCALES | {"y_zero_point": 60}
    y = functional.conv2d(
        x, w, bias, **scales, padding=1, algorithm=algorithm, layout=layout, device=device
    )
    wanted = expected(x, w, bias, padding=(1, 1, 1, 1), y_zero_point=60)
    np.testing.assert_array_equal(y, wanted)
    assert y.dtype == dtype


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({"padding": (2, 1)}, {"padding": (2, 1, 2, 1)}),
        ({"padding": (0, 1, 2, 3)}, {"padding": (0, 1, 2, 3)}),
        ({"stride": 2}, {"stride": (2, 2)}),
        ({"stride": (1, 3), "dilation": (2, 1)}, {"stride": (1, 3), "dilation": (2, 1)}),
        ({"stride": np.int64(2)}, {"stride": (2, 2)}),
        ({"groups": 4}, {"groups": 4}),
        ({"clamp": (-10, 20)}, {"clamp": (-10, 20)}),
        ({"w_zero_point": 7}, {"w_zero_point": 7}),
        ({"y_dtype": "uint8", "y_zero_point": 9}, {"y_dtype": "uint8", "y_zero_point": 9}),
    ],
    ids=str,
)
def test_every_option(device: Device, options: dict[str, Any], plain: dict[str, Any]) -> None:
    x, w, bias = arrays(groups=options.get("groups", 1))
    y = functional.conv2d(x, w, bias, **(SCALES | options), device=device)
    np.testing.assert_array_equal(y, expected(x, w, bias, **plain))


def test_a_scale_per_channel_and_no_bias(device: Device) -> None:
    x, w, _ = arrays()
    scales = SCALES | {"w_scale": np.full(12, 0.01)}
    y = functional.conv2d(x, w, **scales, device=device)
    np.testing.assert_array_equal(y, expected(x, w, np.zeros(12, np.int32)))


def test_x_need_not_be_contiguous(device: Device) -> None:
    x, w, bias = arrays()
    y = functional.conv2d(x[:, :, ::-1], w, bias, **SCALES, device=device)
    np.testing.assert_array_equal(y, expected(x[:, :, ::-1], w, bias))


def test_a_device_stays_open_between_calls(device_index: int) -> None:
    x, w, bias = arrays()
    functional._devices.clear()
    for _ in range(2):
        functional.conv2d(x, w, bias, **SCALES, device=device_index)
    (opened,) = functional._devices.values()
    functional.conv2d(x, w, bias, **SCALES, device=opened)
    assert list(functional._devices.values()) == [opened]
    # What was opened here and has failed is opened anew by the next call.
    opened.close()
    with pytest.raises(DeviceError):
        functional.conv2d(x, w, bias, **SCALES, device=device_index)
    functional.conv2d(x, w, bias, **SCALES, device=device_index)
    for each in functional._devices.values():
        each.close()
    functional._devices.clear()


MISUSES: list[tuple[dict[str, Any], type[VkBackendError], str]] = [
    ({"x": [[1]]}, InputError, "x is a NumPy array, got list"),
    ({"x": np.zeros((1, 8, 4, 4), np.float32)}, InputError, "x is int8 or uint8 [n, ic, h, w], got "
     "float32[1, 8, 4, 4]"),
    ({"w": np.zeros((12, 8), np.int8)}, InputError, "w is int8 [oc, ic / groups, kh, kw], got "
     "int8[12, 8]"),
    ({"bias": np.zeros(12)}, InputError, "bias is int32 [12], got float64[12]"),
    ({"padding": (1, 2, 3)}, InputError, "padding is an int, (h, w) or (top, left, bottom, right), "
     "got (1, 2, 3)"),
    ({"stride": (1, 1, 1)}, InputError, "stride is an int or (h, w), got (1, 1, 1)"),
    ({"layout": "NCHW"}, InputError, "layout is one of 4C, 4C1W, 4W4C, or (input, output), got "
     "'NCHW'"),
    ({"groups": 3}, GraphError, "conv2d 'conv2d': weight [12, 8, 3, 3] in 3 groups does not fit 8 "
     "input channels"),
    ({"algorithm": "pointwise"}, ResolveError, "conv2d 'conv2d': pointwise needs a 1x1 kernel "
     "without padding, got 3x3; forced by force=\"conv2d:pointwise\": drop it or use "),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "message"), MISUSES, ids=lambda value: str(value)[:30])
def test_misuse_is_explained(
    device: Device, options: dict[str, Any], kind: type[VkBackendError], message: str
) -> None:
    x, w, bias = arrays()
    arguments = {"x": x, "w": w, "bias": bias, **SCALES, **options}
    with pytest.raises(kind) as caught:
        functional.conv2d(**arguments, device=device)
    found = str(caught.value)
    assert found == message if kind is not ResolveError else found.startswith(message)
