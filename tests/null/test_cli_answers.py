"""What `run` makes of outputs: labels, and probabilities where there are some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.null.networks import Builder, Q
from vkbackend.commands.answers import describe, gives_probabilities, read_labels
from vkbackend.errors import InputError
from vkbackend.graph import Graph, Quantization, TensorType
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.softmax import Softmax
from vkbackend.quant.affine import every_value

TENTHS = Quantization(0.1, -3)


def classifier(*, function: str = "") -> Graph:
    """A linear layer of ten classes, and perhaps a table behind it."""
    builder = Builder()
    builder.input("x", TensorType((1, 4, 2, 2), Q))
    graph = builder.classifier("x")
    if not function:
        return graph
    tables = {"table": every_value(TENTHS)}
    builder.add("last", Lookup(TENTHS, function), ["classifier.y"], "z", tables)
    builder.add("again", Lookup(TENTHS, "quantize"), ["z"], "again", tables)
    return builder.build(["again"])


def labels_file(folder: Path, text: str) -> Path:
    """A file of this text."""
    (folder / "labels.txt").write_text(text)
    return folder / "labels.txt"


@pytest.mark.parametrize("text", ["a\nb c\n\n\n", "0  a\n1  b c\n", "1: b c\n0: a", "0,a\n1,b c"])
def test_labels_by_line_or_by_number(tmp_path: Path, text: str) -> None:
    assert read_labels(labels_file(tmp_path, text)) == {0: "a", 1: "b c"}


def test_labels_that_begin_with_numbers_by_chance(tmp_path: Path) -> None:
    assert read_labels(labels_file(tmp_path, "7 of hearts\njoker")) == {
        0: "7 of hearts",
        1: "joker",
    }


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    graph, array = classifier(), np.zeros((1, 10), np.float32)
    for text, count in (("a\nb", 2), ("\n".join(f"{n} x" for n in range(1, 11)), 10)):
        with pytest.raises(InputError) as caught:
            describe(array, graph, "y", 5, read_labels(labels_file(tmp_path, text)))
        assert str(caught.value) == f"--labels names {count} classes, the output has 10"
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="binary is not a text file: "):
        read_labels(tmp_path / "binary")


def test_logits_have_probabilities_when_labels_say_that_they_are_logits() -> None:
    graph = classifier()
    array = np.log(np.array([[1, 7, 2] + 7 * [1e-9]], np.float32))
    labels = {index: f"class {index}" for index in range(10)}
    assert "probability" not in describe(array, graph, "y", 1, None)["top"][0]
    found = describe(array, graph, "y", 2, labels)["top"]
    assert [(entry["class"], entry["label"]) for entry in found] == [(1, "class 1"), (2, "class 2")]
    assert [round(entry["probability"], 6) for entry in found] == [0.7, 0.2]


def test_quantised_logits_go_through_their_scale() -> None:
    graph = classifier(function="clamp")
    array = np.array([[10, 0] + 8 * [-128]], np.int8)
    top = describe(array, graph, "again", 2, dict(enumerate("abcdefghij")))["top"]
    assert [entry["value"] for entry in top] == [10, 0]
    assert top[0]["probability"] / top[1]["probability"] == pytest.approx(np.e)


@pytest.mark.parametrize("function", ["logistic", "Relu+Sigmoid"])
def test_a_sigmoid_gives_probabilities(function: str) -> None:
    graph = classifier(function=function)
    assert gives_probabilities(graph, "again")
    top = describe(np.array([[5] + 9 * [-3]], np.int8), graph, "again", 1, None)["top"]
    assert top == [{"class": 0, "value": 5, "probability": pytest.approx(0.8)}]


def test_where_probabilities_come_from() -> None:
    assert not gives_probabilities(classifier(), "y")
    assert not gives_probabilities(classifier(function="tanh"), "again")
    assert "softmax" in Softmax.kind


def test_an_output_that_is_no_class(tmp_path: Path) -> None:
    array = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    found = describe(array, classifier(), "y", 5, None)
    assert found == {"dtype": "float32", "shape": [1, 3, 2, 2], "min": 0.0, "max": 11.0}
