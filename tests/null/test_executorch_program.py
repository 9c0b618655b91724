"""Programs: several delegates, kernels between them, data in other files, and damaged bytes."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.executorch_builder import Delegate, Number
from tests.executorch_program import Program
from vkbackend import reference
from vkbackend.errors import FormatError, InputError, UnsupportedError, VkBackendError
from vkbackend.frontends.executorch import flat, from_executorch
from vkbackend.graph import Array, Graph, Quantization

X = Quantization(0.043, 9)
Y = Quantization(0.027, -21)
SHAPE, MADE = (2, 8, 6, 5), (2, 12, 6, 5)


def convolution() -> Delegate:
    """float -> int8 -> convolution -> float."""
    rng = np.random.default_rng(0)
    delegate = Delegate()
    source = delegate.quantize(delegate.input(SHAPE), SHAPE, X)
    weight = rng.integers(-127, 128, (12, 8, 1, 1)).astype(np.int8)
    scales = rng.uniform(0.001, 0.004, 12).astype(np.float32)
    value = delegate.conv2d(source, (X, Y), weight, scales, None, MADE, op="q8ta_conv2d_pw")
    delegate.result(delegate.dequantize(value, MADE, Y))
    return delegate


def classifier() -> Delegate:
    """float -> int8 -> linear -> float."""
    rng = np.random.default_rng(1)
    delegate = Delegate()
    source = delegate.quantize(delegate.input((2, 12)), (2, 12), X, "4W")
    weight = rng.integers(-127, 128, (10, 12)).astype(np.int8)
    scales = rng.uniform(0.001, 0.01, 10).astype(np.float32)
    value = delegate.linear(source, (X, Y), weight, scales, None, (2, 10))
    delegate.result(delegate.dequantize(value, (2, 10), Y))
    return delegate


def one_delegate() -> Program:
    program = Program()
    program.inputs, program.outputs = [program.tensor(SHAPE)], [program.tensor(MADE)]
    program.delegate(convolution(), *program.inputs, *program.outputs)
    return program


def inputs(seed: int = 2) -> Array:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def run(graph: Graph, *arrays: Array) -> list[Array]:
    values = reference.run(graph, arrays)
    return [values[name] for name in graph.outputs]


def test_a_program_a_blob_and_its_flatbuffer_are_one_network(tmp_path: Path) -> None:
    x = inputs()
    (expected,) = run(from_executorch(convolution().blob()), x)
    program = one_delegate()
    (tmp_path / "net.pte").write_bytes(program.pte())
    (tmp_path / "split.pte").write_bytes(program.pte(external=True))
    with pytest.raises(FormatError, match=r"lies neither in the file nor in a \.ptd file"):
        from_executorch(tmp_path / "split.pte")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "weights.ptd").write_bytes(program.ptd())
    graphs = [
        from_executorch(tmp_path / "net.pte"),
        from_executorch(bytearray(program.pte())),
        from_executorch(str(tmp_path / "split.pte"), data=elsewhere / "weights.ptd"),
        from_executorch(program.pte(external=True), data=[elsewhere / "weights.ptd"]),
    ]
    (tmp_path / "beside.ptd").write_bytes(program.ptd())
    graphs.append(from_executorch(tmp_path / "split.pte", method="forward"))
    for graph in graphs:
        np.testing.assert_array_equal(run(graph, x)[0], expected)


@pytest.mark.parametrize("view", ["none", "elided", "kernel"])
def test_a_mean_between_two_delegates_runs_with_them(view: str) -> None:
    program = Program()
    source, image = program.tensor(SHAPE), program.tensor(MADE)
    keep = view != "none"
    pooled = program.tensor((2, 12, 1, 1) if keep else (2, 12), memory=64)
    flat_memory = 64 if view == "elided" else 256
    rows = program.tensor((2, 12), memory=flat_memory) if keep else pooled
    result = program.tensor((2, 10))
    program.inputs, program.outputs = [source], [result]
    program.delegate(convolution(), source, image)
    numbers = program.integers(-1, -2), program.scalar("bool", keep)
    nothing = program.scalar("null", None)
    program.kernel("aten::mean", "out", image, *numbers, nothing, outputs=[pooled])
    if view == "kernel":
        size = program.integers(2, 12)
        program.kernel("aten::view_copy", "out", pooled, size, outputs=[rows])
    program.delegate(classifier(), rows, result)
    graph = from_executorch(program.pte())
    assert [node.op.kind for node in graph.nodes if node.op.kind != "reshape"] == [
        *("quantize", "conv2d", "global_average_pool", "linear", "dequantize")
    ]
    x = inputs()
    (first,) = run(from_executorch(convolution().blob()), x)
    means = first.astype(np.float64).mean(axis=(2, 3)).astype(np.float32)
    (expected,) = run(from_executorch(classifier().blob()), means)
    np.testing.assert_array_equal(run(graph, x)[0], expected)


def test_a_max_pool_between_two_delegates_and_one_delegate_twice() -> None:
    program = Program()
    source, image = program.tensor(SHAPE), program.tensor(MADE)
    pooled, indices = program.tensor((2, 12, 3, 2)), program.tensor((2, 12, 3, 2), "int64")
    program.inputs, program.outputs = [source], [pooled, image]
    program.delegate(convolution(), source, image)
    window = [program.integers(2, 2) for _ in range(2)]
    rest = program.integers(0, 0), program.integers(1, 1)
    ceil_mode = program.scalar("bool", False)
    program.kernel(
        "aten::max_pool2d_with_indices",
        "out",
        *(image, *window, *rest, ceil_mode),
        outputs=[pooled, indices],
    )
    again = program.tensor(MADE)
    program.delegate(convolution(), source, again)
    program.outputs.append(again)
    graph = from_executorch(program.pte())
    x = inputs()
    (expected,) = run(from_executorch(convolution().blob()), x)
    found = run(graph, x)
    np.testing.assert_array_equal(found[1], expected)
    np.testing.assert_array_equal(found[2], expected)
    views = expected[:, :, :, :4].reshape(2, 12, 3, 2, 2, 2).max(axis=(3, 5))
    np.testing.assert_array_equal(found[0], views)
    assert {name for name in graph.types if name.startswith("d1.")} == {"d1.v1", "d1.v10"}


def test_a_network_is_cut_at_a_tensor() -> None:
    graph = from_executorch(one_delegate().pte(), outputs=["v10", "v1"])
    assert graph.outputs == ("v10", "v1")
    whole = reference.run(from_executorch(one_delegate().pte()), [inputs()])
    for name, found in zip(graph.outputs, run(graph, inputs()), strict=True):
        np.testing.assert_array_equal(found, whole[name])


def test_another_backend_is_named() -> None:
    program = one_delegate()
    program.backend = "XnnpackBackend"
    with pytest.raises(UnsupportedError) as caught:
        from_executorch(program.pte())
    assert str(caught.value) == (
        "the ExecuTorch program: 1 operator cannot be converted:\n"
        "  instruction[0] delegate XnnpackBackend: only delegates of VulkanBackend are read"
    )


def test_wrong_arguments_are_named() -> None:
    program = one_delegate().pte()
    with pytest.raises(InputError, match="has no method 'train'; it has forward"):
        from_executorch(program, method="train")
    with pytest.raises(InputError, match="has no input 'x'; it has in0"):
        from_executorch(program, input_shapes={"x": (1, 8, 6, 5)})
    with pytest.raises(InputError, match=r"input 'in0' is float32\[2, 8, 6, 5\] at most"):
        from_executorch(program, input_shapes={"in0": (3, 8, 6, 5)})
    with pytest.raises(
        InputError, match=r"outputs names tensors, each once, got \['v11'\]; .*'v10'"
    ):
        from_executorch(program, outputs=["v11"])
    with pytest.raises(InputError, match="outputs is a list of tensor names, got the text 'v10'"):
        from_executorch(program, outputs="v10")
    with pytest.raises(FileNotFoundError):
        from_executorch("no/such.pte")


def test_without_flatbuffers_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def missing(name: str, *arguments: Any) -> Any:
        if name.startswith("flatbuffers"):
            raise ImportError("No module named 'flatbuffers'")
        return real(name, *arguments)

    flat._library.cache_clear()
    monkeypatch.setattr("importlib.import_module", lambda name: missing(name))
    with pytest.raises(VkBackendError) as caught:
        from_executorch(b"")
    assert str(caught.value) == (
        "reading ExecuTorch files needs the flatbuffers package, which cannot be imported "
        "(No module named 'flatbuffers'): pip install \"vkbackend[executorch]\""
    )


def test_damage_is_named_with_its_table_or_offset() -> None:
    program = one_delegate().pte()
    blob = convolution().blob()
    delegate = convolution()
    delegate.chain[1][1][0] = 99
    other_sums = convolution()
    other_sums.constants[1] = other_sums.constants[1] + 1
    wrong_shape = convolution()
    wrong_shape.values[wrong_shape.outputs[0]] = ("tensor", ("float32", (2, 12, 6, 6), -1, None))
    unmade = convolution()
    unmade.chain.pop(0)
    weight = program.index(convolution().constants[0].tobytes())
    flipped = program[:weight] + bytes([program[weight] ^ 1]) + program[weight + 1 :]
    cases = {
        b"": "the root table: offset 0 lies outside|the identifier at offset 4 is b''",
        b"PK\3\4 something else entirely": "the identifier at offset 4",
        program[:64]: "lies outside of the 64 bytes|more than the 64 bytes hold",
        program[: len(program) - 300]: r"segments\[\d\] is bytes \d+ to \d+, \d+ are there",
        blob[:20]: "flatbuffer is bytes|lies outside of the 20 bytes|header field",
        blob[: len(blob) - 16]: "constants is bytes",
        delegate.blob(): r"chain\[1\]\.args\[0\] is 99, \d+ values exist",
        flipped: "does not have the SHA-256 of its name: it is damaged",
        other_sums.blob(): r"chain\[1\] et_vk\.q8ta_conv2d_pw\.default has sums \(argument 4\)",
        wrong_shape.blob(): r"makes a tensor of shape \[2, 12, 6, 5\], the file states",
        unmade.blob(): "value 1 of chain is read before anything has made it",
    }
    for data, message in cases.items():
        with pytest.raises(FormatError, match=message):
            from_executorch(data)


@pytest.mark.parametrize("kind", ["program", "blob", "ptd"])
def test_no_damage_escapes_the_readers(kind: str, tmp_path: Path) -> None:
    """Bytes changed at random: an error of this package, or a network that is none the wiser."""
    program = one_delegate()
    whole = {"program": program.pte, "blob": convolution().blob, "ptd": program.ptd}[kind]()
    external = program.pte(external=True)
    rng = np.random.default_rng(len(whole))
    for _ in range(250):
        data = bytearray(whole)
        if rng.random() < 0.2:
            del data[int(rng.integers(0, len(data))) :]
        for at in rng.integers(0, max(len(data), 1), rng.integers(1, 4)):
            if at < len(data):
                data[at] = rng.choice([0, 1, 127, 255, int(rng.integers(256))])
        try:
            if kind == "ptd":
                (tmp_path / "damaged.ptd").write_bytes(data)
                from_executorch(external, data=tmp_path / "damaged.ptd")
            else:
                from_executorch(bytes(data))
        except (FormatError, UnsupportedError):
            pass


def test_a_stride_that_would_fill_the_memory_is_damage() -> None:
    delegate, q = Delegate(), Quantization(0.03, 4)
    source = Number(delegate.input((1, 4, 1, 1), "int8"))
    weight, scales = np.ones((4, 4, 3, 3), np.int8), np.ones(4, np.float32)
    y = delegate.conv2d(
        source,
        (q, q),
        *(weight, scales, None, (1, 4, 3, 3)),
        stride=1 << 20,
        op="q8ta_conv2d_transposed",
        output_padding=0,
    )
    delegate.result(y)
    with pytest.raises(FormatError, match=r"has stride \(1048576, 1048576\), which is too large"):
        from_executorch(delegate.blob())
