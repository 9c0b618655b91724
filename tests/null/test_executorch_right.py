"""Right where ExecuTorch is wrong: what its delegate miscomputes, or cannot load at all.

Networks are delegate blobs made here; results are compared with loops over the definition.
"""

from __future__ import annotations

import itertools

import numpy as np

from tests.executorch_builder import Delegate, Number
from vkbackend import reference
from vkbackend.frontends.executorch import from_executorch
from vkbackend.graph import Array, Graph, Quantization
from vkbackend.resolve import resolve

X = Quantization(0.031, 7)
Y = Quantization(0.083, -11)
Z = Quantization(0.047, 25)


def requantized(real: Array, y: Quantization, *, relu: bool = False) -> Array:
    """RQ of the definition, each step rounded to float32."""
    real = np.maximum(real, np.float32(0)) if relu else real
    inverse = np.float32(1) / np.float32(y.scale)
    return np.clip(np.rint(real * inverse) + y.zero_point, -128, 127).astype(np.int8)


def scaled(sums: Array, scales: Array, bias: Array | None, axis: int) -> Array:
    """fl(fl(float32(sum) * sc) + bias), sc = fl(w_s * x_s), per channel."""
    shape = [1] * sums.ndim
    shape[axis] = -1
    real = sums.astype(np.float32) * (scales * np.float32(X.scale)).reshape(shape)
    return real if bias is None else real + bias.reshape(shape)


def convolution_sums(x: Array, weight: Array, stride: int, padding: int, groups: int) -> Array:
    """int32 sums of a convolution, by loops; taps outside the image count as the zero point."""
    batch, _, height, width = x.shape
    out_channels, depth, kh, kw = weight.shape
    rows = (height + 2 * padding - kh) // stride + 1
    columns = (width + 2 * padding - kw) // stride + 1
    sums = np.zeros((batch, out_channels, rows, columns), np.int64)
    for oc, row, column in itertools.product(range(out_channels), range(rows), range(columns)):
        first = oc // (out_channels // groups) * depth
        for tap_h, tap_w in itertools.product(range(kh), range(kw)):
            h, w = row * stride - padding + tap_h, column * stride - padding + tap_w
            if 0 <= h < height and 0 <= w < width:
                pixel = x[:, first : first + depth, h, w].astype(np.int64) - X.zero_point
                sums[:, oc, row, column] += pixel @ weight[oc, :, tap_h, tap_w].astype(np.int64)
    return sums.astype(np.int32)


def transposed_sums(x: Array, weight: Array, stride: int, padding: int, groups: int) -> Array:
    """int32 sums of a transposed convolution without output padding: every input is scattered."""
    batch, _, height, width = x.shape
    out_channels, depth, kh, kw = weight.shape
    each = out_channels // groups
    rows, columns = (height - 1) * stride + kh, (width - 1) * stride + kw
    whole = np.zeros((batch, out_channels, rows, columns), np.int64)
    for oc, h, w in itertools.product(range(out_channels), range(height), range(width)):
        first = oc // each * depth
        pixel = x[:, first : first + depth, h, w].astype(np.int64) - X.zero_point
        taps = np.einsum("nd,dhw->nhw", pixel, weight[oc].astype(np.int64))
        whole[:, oc, h * stride : h * stride + kh, w * stride : w * stride + kw] += taps
    cut = slice(padding, rows - padding), slice(padding, columns - padding)
    return whole[:, :, cut[0], cut[1]].astype(np.int32)


def parameters(
    out_channels: int, depth: int, kernel: int, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Weights, scales and a bias."""
    rng = np.random.default_rng(seed)
    weight = rng.integers(-127, 128, (out_channels, depth, kernel, kernel)).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, out_channels).astype(np.float32)
    return weight, scales, rng.normal(size=out_channels).astype(np.float32)


def started(shape: tuple[int, ...]) -> tuple[Delegate, Number]:
    """A delegate with an int8 input."""
    delegate = Delegate()
    return delegate, Number(delegate.input(shape, "int8"))


def run(delegate: Delegate, *outputs: Number, **inputs: Array) -> list[Array]:
    """The network's int8 outputs, and its plans resolve for a GPU of either kind."""
    for output in outputs:
        delegate.result(output)
    graph = from_executorch(delegate.blob())
    for gpu in ("mali_g610", "adreno_750"):
        for policy in ("auto", "executorch"):
            resolve(graph, gpu, policy=policy)
    return results(graph, **inputs)


def results(graph: Graph, **inputs: Array) -> list[Array]:
    values = reference.run(graph, inputs)
    return [values[name] for name in graph.outputs]


def activations(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def test_every_image_of_a_batch_is_computed() -> None:
    """ExecuTorch computes the first image only."""
    x = activations(3, 8, 6, 5)
    weight, scales, bias = parameters(12, 8, 3)
    delegate, source = started(x.shape)
    y = delegate.conv2d(source, (X, Y), weight, scales, bias, (3, 12, 6, 5), padding=1)
    (found,) = run(delegate, y, in0=x)
    sums = convolution_sums(x, weight, 1, 1, 1)
    np.testing.assert_array_equal(found, requantized(scaled(sums, scales, bias, 1), Y))


def test_a_grouped_1x1_convolution_keeps_its_groups() -> None:
    """ExecuTorch takes it for a pointwise one, which ignores the groups."""
    x = activations(1, 8, 4, 5)
    weight, scales, bias = parameters(12, 4, 1)
    delegate, source = started(x.shape)
    y = delegate.conv2d(
        source,
        (X, Y),
        *(weight, scales, bias, (1, 12, 4, 5)),
        groups=2,
        activation="relu",
        op="q8ta_conv2d_pw",
    )
    (found,) = run(delegate, y, in0=x)
    sums = convolution_sums(x, weight, 1, 0, 2)
    expected = requantized(scaled(sums, scales, bias, 1), Y, relu=True)
    np.testing.assert_array_equal(found, expected)


def test_a_grouped_transposed_convolution_has_scales_for_every_group() -> None:
    """ExecuTorch is given the scales of one group and reads on behind them."""
    x = activations(2, 8, 4, 3)
    weight, _, bias = parameters(6, 4, 3)
    each = np.random.default_rng(3).uniform(0.001, 0.01, 3).astype(np.float32)
    for scales in (each, np.tile(each, 2)):
        delegate, source = started(x.shape)
        y = delegate.conv2d(
            source,
            (X, Y),
            *(weight, scales, bias, (2, 6, 7, 5)),
            stride=2,
            padding=1,
            groups=2,
            op="q8ta_conv2d_transposed",
            output_padding=0,
        )
        (found,) = run(delegate, y, in0=x)
        sums = transposed_sums(x, weight, 2, 1, 2)
        expected = requantized(scaled(sums, np.tile(each, 2), bias, 1), Y)
        np.testing.assert_array_equal(found, expected)


def test_add_uses_alpha() -> None:
    """ExecuTorch's kernel is handed alpha and ignores it."""
    a, b = activations(1, 4, 3, 5), activations(1, 4, 3, 5, seed=2)
    for alpha in (1, 2, -0.75):
        delegate = Delegate()
        ends = Number(delegate.input(a.shape, "int8")), Number(delegate.input(b.shape, "int8"))
        y = delegate.add(ends, (X, Z, Y), a.shape, alpha)
        (found,) = run(delegate, y, in0=a, in1=b)
        np.testing.assert_array_equal(found, requantized(_sum(a, b, alpha), Y))


def test_add_broadcasts() -> None:
    """ExecuTorch adds element by element, whatever the shapes."""
    a = activations(2, 4, 3, 5)
    for shape in ((1, 4, 1, 1), (2, 1, 3, 1), (5,), (4, 1, 5)):
        b = activations(*shape, seed=2)
        for first in (True, False):
            delegate = Delegate()
            inputs = (a, b) if first else (b, a)
            ends = [Number(delegate.input(each.shape, "int8")) for each in inputs]
            types = (X, Z, Y) if first else (Z, X, Y)
            y = delegate.add((ends[0], ends[1]), types, a.shape)
            (found,) = run(delegate, y, in0=inputs[0], in1=inputs[1])
            np.testing.assert_array_equal(found, requantized(_sum(a, b, 1), Y))


def _sum(a: Array, b: Array, alpha: float) -> Array:
    real_a = (a.astype(np.int32) - X.zero_point).astype(np.float32) * np.float32(X.scale)
    real_b = (b.astype(np.int32) - Z.zero_point).astype(np.float32) * np.float32(Z.scale)
    return real_a + (real_b if alpha == 1 else real_b * np.float32(alpha))


def test_a_linear_layer_runs_over_leading_dimensions() -> None:
    """ExecuTorch computes the rows of the first matrix only."""
    rng = np.random.default_rng(4)
    weight = rng.integers(-127, 128, (7, 12)).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, 7).astype(np.float32)
    bias = rng.normal(size=7).astype(np.float32)
    for shape in ((12,), (5, 12), (3, 5, 12), (2, 3, 5, 12)):
        x = activations(*shape)
        delegate, source = started(x.shape)
        y = delegate.linear(source, (X, Y), weight, scales, bias, (*shape[:-1], 7))
        (found,) = run(delegate, y, in0=x)
        sums = (x.astype(np.int64) - X.zero_point) @ weight.T.astype(np.int64)
        real = scaled(sums.astype(np.int32), scales, bias, x.ndim - 1)
        np.testing.assert_array_equal(found, requantized(real, Y))


def test_a_linear_and_a_transposed_convolution_share_a_tensor() -> None:
    """ExecuTorch hands the width-packed layout on to the convolution, and fails to load."""
    x = activations(1, 8, 8, 8)
    weight, scales, bias = parameters(8, 8, 3)
    matrix = weight[:, :, 0, 0]
    delegate, source = started(x.shape)
    rows = delegate.linear(source, (X, Y), matrix, scales, bias, x.shape)
    copy = delegate.call("aten.clone.default", source, None, out=delegate.tensor(x.shape))
    image = delegate.conv2d(
        copy,
        (X, Y),
        *(weight, scales, bias, x.shape),
        padding=1,
        op="q8ta_conv2d_transposed",
        output_padding=0,
    )
    found = run(delegate, rows, image, in0=x)
    sums = (x.astype(np.int64) - X.zero_point) @ matrix.T.astype(np.int64)
    expected = requantized(scaled(sums.astype(np.int32), scales, bias, 3), Y)
    np.testing.assert_array_equal(found[0], expected)
    sums = transposed_sums(x, weight, 1, 1, 1)
    np.testing.assert_array_equal(found[1], requantized(scaled(sums, scales, bias, 1), Y))


def test_channels_that_fill_no_word_and_a_depth_of_one() -> None:
    """ExecuTorch refuses them: groups of channels that are no multiple of four, and C = 6."""
    x = activations(1, 6, 5, 4)
    weight, scales, bias = parameters(4, 3, 3)
    delegate, source = started(x.shape)
    y = delegate.conv2d(source, (X, Y), weight, scales, bias, (1, 4, 3, 2), groups=2)
    (found,) = run(delegate, y, in0=x)
    sums = convolution_sums(x, weight, 1, 0, 2)
    np.testing.assert_array_equal(found, requantized(scaled(sums, scales, bias, 1), Y))
    weight, scales, _ = parameters(6, 1, 3)
    delegate, source = started(x.shape)
    y = delegate.conv2d(
        source, (X, Y), weight, scales, None, (1, 6, 3, 2), groups=6, op="q8ta_conv2d_dw"
    )
    (found,) = run(delegate, y, in0=x)
    sums = convolution_sums(x, weight, 1, 0, 6)
    np.testing.assert_array_equal(found, requantized(scaled(sums, scales, None, 1), Y))


def test_a_float_scale_beyond_int32_is_clamped_before_the_conversion() -> None:
    """ExecuTorch converts to int first, which is undefined where the value does not fit."""
    x = activations(1, 4, 3, 3)
    weight, _, _ = parameters(4, 4, 1)
    scales = np.full(4, 3e30, np.float32)
    delegate, source = started(x.shape)
    y = delegate.conv2d(source, (X, Y), weight, scales, None, x.shape, op="q8ta_conv2d_pw")
    (found,) = run(delegate, y, in0=x)
    sums = convolution_sums(x, weight, 1, 0, 1)
    zero = sums == 0
    assert (found[~zero] == np.where(sums[~zero] > 0, 127, -128)).all()
    assert (found[zero] == Y.zero_point).all()


def test_smaller_inputs_of_a_program_with_dynamic_shapes() -> None:
    """ExecuTorch freezes the algorithm for the largest shape, and some operators never resize."""
    weight, scales, bias = parameters(12, 8, 3)
    delegate, source = started((2, 8, 9, 9))
    y = delegate.conv2d(source, (X, Y), weight, scales, bias, (2, 12, 9, 9), padding=1)
    joined = delegate.call("aten.cat.default", [y, y], 1, out=delegate.tensor((2, 24, 9, 9)))
    delegate.result(joined)
    blob = delegate.blob()
    for shape in ((1, 8, 5, 7), (2, 8, 9, 4), (1, 8, 9, 9)):
        x = activations(*shape)
        sums = convolution_sums(x, weight, 1, 1, 1)
        expected = requantized(scaled(sums, scales, bias, 1), Y)
        graph = from_executorch(blob, input_shapes={"in0": shape})
        (found,) = results(graph, in0=x)
        np.testing.assert_array_equal(found, np.concatenate([expected, expected], axis=1))
