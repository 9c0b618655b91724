"""What commands read and print: arrays and images as inputs, random inputs, tables, the bar."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vkbackend.commands import demo, text
from vkbackend.commands.export import peak_activation_bytes
from vkbackend.commands.inputs import Normalisation, read_inputs
from vkbackend.errors import InputError, VkBackendError
from vkbackend.graph import Array, GraphBuilder, Quantization, TensorType
from vkbackend.ops.max_pool import MaxPool
from vkbackend.ops.quantize import Quantize
from vkbackend.random_inputs import random_inputs
from vkbackend.signature import Port

FLOAT_PORT = Port("float32", (1, 3, 4, 6), "NCHW")


def image_file(folder: Path) -> str:
    """A small picture whose left half is black and whose right half is red."""
    image = pytest.importorskip("PIL.Image").new("RGB", (6, 4))
    image.paste((255, 0, 0), (3, 0, 6, 4))
    image.save(folder / "x.png")
    return str(folder / "x.png")


USUAL = {
    "float32": None,
    "int8": Quantization(1 / 255, -128),
    "uint8": Quantization(2 / 255, 127, "uint8"),
}


def read(files: list[str], ports: dict[str, Port], how: Normalisation | None) -> dict[str, Array]:
    """The inputs, where images stand for 0 to 1 (int8) or -1 to 1 (uint8)."""
    found = {
        name: quantization for name, port in ports.items() if (quantization := USUAL[port.dtype])
    }
    return read_inputs(files, ports, how, found)


@pytest.mark.parametrize(
    ("port", "black", "red"),
    [
        (Port("uint8", (1, 4, 6, 3), "NHWC"), [0, 0, 0], [255, 0, 0]),
        (Port("int8", (1, 4, 6, 3), "NHWC"), [-128, -128, -128], [127, -128, -128]),
        (Port("float32", (1, 4, 6, 3), "NHWC"), [0, 0, 0], [1, 0, 0]),
    ],
)
def test_pixels_become_the_inputs_type(
    tmp_path: Path, port: Port, black: list[int], red: list[int]
) -> None:
    array = read([image_file(tmp_path)], {"x": port}, None)["x"]
    assert (array.dtype, array.shape) == (port.dtype, port.shape)
    assert array[0, 0, 0].tolist() == black
    assert array[0, 3, 5].tolist() == red


def test_pixels_are_normalised_and_moved(tmp_path: Path) -> None:
    how = Normalisation(1.0, (55.0, 0.0, 10.0), (2.0, 1.0, 5.0))
    array = read([image_file(tmp_path)], {"x": FLOAT_PORT}, how)["x"]
    assert (array.dtype, array.shape) == ("float32", (1, 3, 4, 6))
    assert array[0, :, 0, 5].tolist() == [100, 0, -2]


def test_normalised_pixels_are_quantised_as_the_network_declares(tmp_path: Path) -> None:
    port = Port("int8", (1, 3, 4, 6), "NCHW")
    how = Normalisation(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    declared = {"x": Quantization(0.02, -10)}
    array = read_inputs([image_file(tmp_path)], {"x": port}, how, declared)["x"]
    assert (array.dtype, array.shape) == ("int8", port.shape)
    # (1 - 0.485) / 0.229 / 0.02 - 10 = 102.4, and so on; the first two of black are clamped.
    assert array[0, :, 0, 5].tolist() == [102, -112, -100]
    assert array[0, :, 0, 0].tolist() == [-116, -112, -100]
    narrow = read_inputs([image_file(tmp_path)], {"x": port}, how, {"x": Quantization(0.01, 0)})
    assert narrow["x"][0, :, 0, 5].tolist() == [127, -128, -128]


def test_pixels_of_a_network_of_normalised_images_are_warned_of(tmp_path: Path) -> None:
    port = Port("uint8", (1, 3, 4, 6), "NCHW")
    declared = {"x": Quantization(0.0186, 114, "uint8")}
    with pytest.warns(RuntimeWarning) as caught:
        array = read_inputs([image_file(tmp_path)], {"x": port}, None, declared)["x"]
    assert array[0, :, 0, 5].tolist() == [255, 0, 0]
    assert [str(each.message) for each in caught] == [
        f"{tmp_path}/x.png: the input stands for -2.12 to 2.62, none of the usual ranges of "
        "pixels: if the network was trained on normalised images, say how with --mean and --std"
    ]


def test_an_image_is_resized_and_made_grey(tmp_path: Path) -> None:
    port = Port("uint8", (1, 1, 2, 2), "NCHW")
    array = read([image_file(tmp_path)], {"x": port}, None)["x"]
    assert array.shape == port.shape
    assert array[0, 0, 0, 1] > array[0, 0, 0, 0]


def test_arrays_by_name_and_in_order(tmp_path: Path) -> None:
    ports = {"a": FLOAT_PORT, "b": FLOAT_PORT}
    first, second = np.zeros(1, np.float32), np.ones(1, np.float32)
    np.save(tmp_path / "1.npy", first)
    np.save(tmp_path / "2.npy", second)
    np.savez(tmp_path / "both.npz", a=first, b=second, other=first)
    np.savez(tmp_path / "one.npz", second)
    in_order = read([f"{tmp_path}/1.npy", f"{tmp_path}/2.npy"], ports, None)
    by_name = read([f"b={tmp_path}/2.npy", f"{tmp_path}/1.npy"], ports, None)
    together = read([f"{tmp_path}/both.npz"], ports, None)
    mixed = read([f"b={tmp_path}/one.npz", f"a={tmp_path}/1.npy"], ports, None)
    for found in (in_order, by_name, together, mixed):
        assert (found["a"], found["b"]) == (first, second)


def test_wrong_inputs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image_file(tmp_path)
    Path("text.png").write_text("no image")
    Path("text.npy").write_text("no array")
    np.savez("two.npz", p=np.zeros(1), q=np.zeros(1))
    port = {"x": FLOAT_PORT}
    cases: list[tuple[list[str], dict[str, Port], Normalisation | None, str]] = [
        (["text.png"], port, None, "text.png is neither an image that Pillow reads nor .npy "
         "or .npz"),
        (["text.npy"], port, None, "text.npy is not a NumPy file of plain arrays"),
        (["two.npz"], port, None, "two.npz holds p, q: one array, or arrays named as the network's "
         "inputs (x) are needed"),
        (["x.png", "x.png"], port, None, "x.png is one too many: the inputs are x"),
        (["x.png"], {"x": Port("float32", (1, 10), "NCHW")}, None, "x.png: an image needs an input "
         "of four dimensions, this one is float32[1, 10]"),
        (["x.png"], {"x": Port("uint8", (1, 2, 4, 6), "NCHW")}, None, "x.png: an image has 1 or 3 "
         "channels, this input has 2"),
        (["x.png"], port, Normalisation(mean=(1.0, 2.0)), "x.png: --mean takes one number or one "
         "per channel (3), got 2"),
    ]  # fmt: skip
    for files, ports, normalisation, message in cases:
        with pytest.raises(InputError) as caught:
            read(files, ports, normalisation)
        assert str(caught.value) == message


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(VkBackendError) as caught:
        read(["x.png"], {"x": FLOAT_PORT}, None)
    assert str(caught.value).endswith(': pip install "vkbackend[image]"')


def test_random_inputs_cover_the_range() -> None:
    to = Quantization(0.1, 20, "uint8")
    builder = GraphBuilder()
    builder.input("x", TensorType((1, 3, 64, 64)))
    builder.input("q", TensorType((1, 3, 64, 64), Quantization(1.0, 0)))
    builder.add("quantize", Quantize(to), ["x"], "y")
    x, q = random_inputs(builder.build(["y"]), seed=1)
    stored = np.rint(x / 0.1) + 20
    assert len(np.unique(np.clip(stored, 0, 255))) > 250
    assert 0.005 < np.mean((stored < 0) | (stored > 255)) < 0.05
    assert (q.min(), q.max()) == (-128, 127)
    again = random_inputs(builder.build(["y"]), seed=1)
    assert all(map(np.array_equal, (x, q), again))


def test_peak_activation_counts_what_is_alive() -> None:
    builder = GraphBuilder()
    builder.input("x", TensorType((1, 4, 8, 8), Quantization(1.0, 0)))
    builder.add("a", MaxPool((1, 1)), ["x"], "a")
    builder.add("b", MaxPool((2, 2), stride=(2, 2)), ["a"], "b")
    assert peak_activation_bytes(builder.build(["b"])) == 2 * 256
    assert peak_activation_bytes(builder.build(["a", "b"])) == 2 * 256 + 0


def test_sizes_shares_and_short_names() -> None:
    assert [text.size(n) for n in (0, 1023, 1536, 3 << 20, 5 << 30)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 KiB",
        "3.0 MiB",
        "5.0 GiB",
    ]
    assert [text.percent(n, 100_000) for n in (0, 99_500, 99_999, 100_000)] == [
        "0.00%",
        "99.50%",
        "99.99%",
        "100.00%",
    ]
    assert text.shortened("a_long_name_of_a_node", 11) == "a_lo...node"
    assert text.shortened("short", 11) == "short"
    assert text.Spread.of([5.0, 1.0, 3.0]).median == 3.0


def test_a_bar_is_shown_on_a_terminal_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(text.progress("abcd", "working")) == list("abcd")
        shown = stream.getvalue()
        assert ("working [#######.......................] 25%" in shown) is stream.isatty()
        assert shown.endswith("\r\033[K") is stream.isatty()


@pytest.mark.parametrize(("encoding", "ink"), [("utf-8", "█"), ("ascii", "#")])
def test_pictures_suit_the_terminal(
    monkeypatch: pytest.MonkeyPatch, encoding: str, ink: str
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    assert demo._picture(np.array([[0.0, 16.0]])) == [f"  {ink}{ink}"]
