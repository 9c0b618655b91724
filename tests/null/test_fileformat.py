"""The .vkb file: round trips, and one clear error for whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from tests.null.networks import NETWORKS, residual
from vkbackend.errors import FormatError
from vkbackend.fileformat import read, save
from vkbackend.resolve import resolve


@pytest.mark.parametrize("network", NETWORKS)
def test_round_trip(network: str, tmp_path: Path) -> None:
    graph = NETWORKS[network]()
    save(graph, tmp_path / "net.vkb")
    again = read(tmp_path / "net.vkb")
    assert again.nodes == graph.nodes
    assert again.inputs == graph.inputs
    assert again.layouts == graph.layouts
    assert again.types == graph.types
    for name, array in graph.constants.items():
        assert again.constants[name].dtype == array.dtype
        np.testing.assert_array_equal(again.constants[name], array)
    plans = (resolve(g, "adreno_750").choices() for g in (graph, again))
    assert next(plans) == next(plans)


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the graph description of a file."""
    with safe_open(str(path), framework="np") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    description = json.loads(metadata["graph"])
    change(description)
    metadata["graph"] = json.dumps(description)
    save_file(tensors, str(path), metadata=metadata)


def broken(description: dict[str, Any], path: str, value: Any) -> None:
    """Sets the entry at a dotted path, or deletes it for `...`."""
    *parents, last = path.split(".")
    for part in parents:
        description = description[int(part) if part.isdigit() else part]
    key: Any = int(last) if last.isdigit() else last
    if value is ...:
        del description[key]
    else:
        description[key] = value


DAMAGE = [
    ("nodes.1.op", "conv3d", "graph.nodes[1].op: unknown operator 'conv3d'"),
    ("nodes.1.op", 7, "graph.nodes[1].op is 7, not str"),
    ("nodes.1.fields.output", ..., "graph.nodes[1].fields.output is missing"),
    ("nodes.1.fields.groups", "1", "graph.nodes[1].fields.groups is '1', not int"),
    ("nodes.1.fields.groups", True, "graph.nodes[1].fields.groups is True, not int"),
    ("nodes.1.fields.stride", [1], "graph.nodes[1].fields.stride has 1 entries, not 2"),
    ("nodes.1.fields.extra", 1, "graph.nodes[1].fields.extra is unknown"),
    ("nodes.1.fields.output.scale", -1.0, "a scale is a positive float32, got -1.0"),
    ("nodes.1.inputs.0", "gone", "conv2d 'stem': input 'gone' is made by no earlier node"),
    ("nodes.1.constants.weight", "gone", "conv2d 'stem': constant 'gone' (weight) is missing"),
    ("nodes.1.constants.kernel", "x", "graph.nodes[1].constants: conv2d takes no 'kernel'"),
    ("nodes.1.fields.groups", 5, "in 5 groups does not fit 3 input channels"),
    ("nodes.1.fields.padding", [10**6, 10**6, 10**6, 10**6], "has more than 2^30 elements"),
    ("outputs.0", "gone", "output 'gone' is made by no node"),
    ("inputs.x.shape", [1, 3, 0, 16], "graph.inputs"),
    ("layouts.stem.y", "4D", "graph.layouts"),
    ("nodes", {}, "graph.nodes is {}, not list"),
    ("nodes.2.name", "stem", "two nodes are named 'stem'"),
]


@pytest.mark.parametrize(("path", "value", "message"), DAMAGE)
def test_damage_is_named(path: str, value: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "net.vkb"
    save(residual(), file)
    if path == "layouts.stem.y":
        rewrite(file, lambda d: d["layouts"].update({"stem.y": value}))
    else:
        rewrite(file, lambda d: broken(d, path, value))
    with pytest.raises(FormatError) as caught:
        read(file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_a_truncated_or_flipped_file_gives_a_format_error(tmp_path: Path) -> None:
    file = tmp_path / "net.vkb"
    save(residual(), file)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    for size in (0, 7, 8, 100, header - 1, header + 5, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(FormatError):
            read(file)
    for position in rng.integers(0, header, 300):
        damaged = bytearray(whole)
        damaged[position] ^= int(rng.integers(1, 256))
        file.write_bytes(damaged)
        try:
            read(file)
        except FormatError:
            continue


def test_other_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"x": np.zeros(3, np.float32)}, str(file))
    with pytest.raises(FormatError) as caught:
        read(file)
    assert str(caught.value) == f'{file}: format is None, not "vkbackend": not a .vkb file'
    with pytest.raises(FormatError, match=r"gone\.vkb does not exist"):
        read(tmp_path / "gone.vkb")
    save_file({}, str(file), metadata={"format": "vkbackend", "version": "99"})
    with pytest.raises(FormatError) as caught:
        read(file)
    assert str(caught.value) == (
        f"{file}: version is '99', this vkbackend reads 1: export the network again"
    )
