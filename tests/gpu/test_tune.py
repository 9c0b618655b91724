"""Tuning: measured times are kept, resumed, moved, and taken by `load` where they help."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import vkbackend as vkb
from tests.gpu.conftest import find_device
from tests.null.networks import Builder, Q
from vkbackend import cli, shaders, tuning
from vkbackend.costs import candidate_key, graph_key, node_key
from vkbackend.device import Device
from vkbackend.errors import DeviceError, FormatError
from vkbackend.graph import Graph, TensorType
from vkbackend.ops.relayout import Relayout
from vkbackend.plan import Plan
from vkbackend.tune import Progress, Summary, tune
from vkbackend.tuning import Measurement, Tuning, Verdict

BUDGET_S = 60.0  # of which a few are used


@pytest.fixture(scope="module")
def lavapipe() -> Iterator[Device]:
    """The device that is tuned for."""
    with Device.open(find_device("lavapipe")) as opened:
        yield opened


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Two convolutions of one kind and size behind another."""
    builder = Builder()
    builder.input("x", TensorType((1, 4, 8, 8), Q))
    tensor = builder.conv("stem", "x", 8)
    for name in ("first", "second"):
        tensor = builder.conv(name, tensor, 8, 1)
    return builder.build([tensor])


@pytest.fixture(scope="module")
def tuned(lavapipe: Device, graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one whole tuning."""
    path = tmp_path_factory.mktemp("tuned") / "tuning.sqlite"
    summary = tune(graph, lavapipe, Tuning(path), budget_s=BUDGET_S)
    assert summary.is_complete
    assert summary.candidates > 20
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder: where `load` looks for the tuning file."""
    monkeypatch.setenv("VKBACKEND_CACHE_DIR", str(tmp_path))
    return tmp_path / "tuning.sqlite"


def plan_of(graph: Graph, device: Device) -> Plan:
    """What `load` runs; it may not warn."""
    with vkb.load(graph, device=device) as model:
        return model.plan


def prices(plan: Plan) -> list[float]:
    """Of every step."""
    return [step.choice.cost_us for step in plan.steps]


def samples(path: Path, node: str, candidate: str) -> int:
    """How often a candidate was measured."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        query = "select samples from times where node = ? and candidate = ?"
        return int(connection.execute(query, (node, candidate)).fetchone()[0])


def keys_of(file: Tuning, device: Device) -> set[str]:
    """Of the nodes that the file knows."""
    return {node for node, _ in file.times_us(device.identity)}


def set_verdict(file: Tuning, device: Device, graph: Graph, tuned_us: float) -> None:
    """Notes that the untuned plan takes 1 us."""
    file.record_verdict(device.identity, graph_key(graph), {}, Verdict(tuned_us, 1.0))


# -- measuring ------------------------------------------------------------------------------------


def test_every_distinct_node_is_measured_once(lavapipe: Device, graph: Graph, tuned: Path) -> None:
    times = Tuning(tuned).times_us(lavapipe.identity)
    nodes = graph.bound_nodes()
    assert node_key(nodes[1]) == node_key(nodes[2])
    assert {node_key(node) for node in nodes} <= {key for key, _ in times}
    assert any(key.startswith(Relayout.kind) for key, _ in times)
    assert all(0 < time_us < 1e6 for time_us in times.values())
    copies = {way for key, way in times if key.startswith(Relayout.kind) and "NCHW" in way}
    assert any("NCHW->4C " in way for way in copies)
    assert any("4C->NCHW " in way for way in copies)


def test_a_second_tuning_measures_nothing(lavapipe: Device, graph: Graph, tuned: Path) -> None:
    before = tuned.read_bytes()
    started = time.monotonic()
    summary = tune(graph, lavapipe, Tuning(tuned))
    assert time.monotonic() - started < 2
    assert (summary.candidates, summary.is_complete, summary.interrupted) == (0, True, False)
    assert summary.verdict is not None
    assert tuned.read_bytes() == before


def test_an_interrupted_tuning_goes_on(lavapipe: Device, graph: Graph, tmp_path: Path) -> None:
    file = Tuning(tmp_path / "tuning.sqlite")
    set_verdict(file, lavapipe, graph, 0.5)

    def interrupt(progress: Progress) -> None:
        if progress.done == 1 and progress.candidates > first_node[0]:
            raise KeyboardInterrupt
        first_node[0] = progress.candidates

    first_node = [0]
    first = tune(graph, lavapipe, file, progress=interrupt)
    assert (first.interrupted, first.verdict, first.nodes) == (True, None, 1)
    kept = {key: file.measurements(lavapipe.identity, key) for key in keys_of(file, lavapipe)}
    assert sum(map(len, kept.values())) == first.candidates == file.count() > 0
    # It was about other times than those that are there now.
    assert file.verdict(lavapipe.identity, graph_key(graph)) is None
    second = tune(graph, lavapipe, file, budget_s=BUDGET_S)
    assert (second.nodes_before, second.is_complete, second.interrupted) == (1, True, False)
    # Also of the node that was not done yet, nothing is measured twice.
    assert file.count() == first.candidates + second.candidates
    for key, measured in kept.items():
        assert measured.items() <= file.measurements(lavapipe.identity, key).items()


def test_what_is_known_is_measured_again_when_asked(
    lavapipe: Device, graph: Graph, tuned: Path, tmp_path: Path
) -> None:
    file = Tuning(tmp_path / "tuning.sqlite")
    file.merge(tuned)
    before = file.times_us(lavapipe.identity)

    def interrupt(progress: Progress) -> None:
        if progress.candidates == 5:
            raise KeyboardInterrupt

    summary = tune(graph, lavapipe, file, again=True, progress=interrupt)
    assert (summary.nodes_before, summary.nodes, summary.candidates) == (0, 0, 5)
    after = file.times_us(lavapipe.identity)
    assert before.keys() == after.keys()
    # What is guessed of the node's other candidates may not replace what was measured of them.
    assert 0 < len(after.items() - before.items()) <= 5


def test_a_budget_ends(lavapipe: Device, graph: Graph, tmp_path: Path) -> None:
    started = time.monotonic()
    summary = tune(graph, lavapipe, Tuning(tmp_path / "t.sqlite"), budget_s=0.2)
    assert time.monotonic() - started < 5
    assert not summary.is_complete
    assert summary.verdict is not None


def test_without_timestamps(
    lavapipe: Device, graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lavapipe, "info", replace(lavapipe.info, timestamp_valid_bits=0))
    with pytest.raises(DeviceError) as caught:
        tune(graph, lavapipe, Tuning(tmp_path / "t.sqlite"))
    name = lavapipe.info.name
    assert str(caught.value) == (f"{name} has no timestamps, and tuning times by the GPU's clock")


# -- what load takes ------------------------------------------------------------------------------


def test_load_takes_measured_times(
    lavapipe: Device, graph: Graph, tuned: Path, cache: Path
) -> None:
    Tuning(cache).merge(tuned)
    set_verdict(Tuning(cache), lavapipe, graph, 0.5)
    times = Tuning(cache).times_us(lavapipe.identity)
    steps = plan_of(graph, lavapipe).steps
    assert len(steps) >= 3
    for step in steps:
        key = node_key(step.node), candidate_key(step.choice.candidate)
        assert step.choice.cost_us == times[key], step.node.name
        assert samples(cache, *key) > 0
    # A time that was measured decides, whatever the table says. (In the layouts that are chosen:
    # copies from and to others have measured times too.)
    stem = graph.bound_nodes()[0]
    layouts = next(
        candidate_key(s.choice.candidate) for s in steps if s.node.name == "stem"
    ).split()[1]
    worst = max(
        (time_us, way)
        for (node, way), time_us in times.items()
        if node == node_key(stem) and way.split()[1] == layouts
    )
    wonder = Measurement(worst[1], 0.001, 0.0, 3, {})
    Tuning(cache).record(lavapipe.identity, node_key(stem), [wonder])
    chosen = {step.node.name: step.choice for step in plan_of(graph, lavapipe).steps}
    assert candidate_key(chosen["stem"].candidate) == worst[1]
    assert chosen["stem"].cost_us == 0.001


def test_a_slower_tuned_plan_is_not_taken(
    lavapipe: Device, graph: Graph, tuned: Path, cache: Path
) -> None:
    untuned = plan_of(graph, lavapipe)
    Tuning(cache).merge(tuned)
    set_verdict(Tuning(cache), lavapipe, graph, 1.5)
    assert prices(plan_of(graph, lavapipe)) == prices(untuned)


def test_times_without_a_comparison_are_not_taken(
    lavapipe: Device, graph: Graph, tuned: Path, cache: Path
) -> None:
    untuned = plan_of(graph, lavapipe)
    Tuning(cache).merge(tuned)
    Tuning(cache).drop_verdict(lavapipe.identity, graph_key(graph))
    assert prices(plan_of(graph, lavapipe)) == prices(untuned)


def test_times_of_changed_shaders_do_not_count(
    lavapipe: Device, graph: Graph, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Tuning(tuned)
    times, finished = file.times_us(lavapipe.identity), file.finished(lavapipe.identity)
    real = shaders.load

    def load(name: str) -> shaders.Module:
        module = real(name)
        return replace(module, digest="changed") if name.startswith("relayout") else module

    monkeypatch.setattr(shaders, "load", load)
    left = file.times_us(lavapipe.identity)
    assert set(left) == {key for key in times if not key[0].startswith(Relayout.kind)}
    assert 0 < len(file.finished(lavapipe.identity)) < len(finished)
    assert not file.helps(lavapipe.identity, graph_key(graph))
    monkeypatch.setattr(shaders, "load", lambda name: replace(real(name), digest="changed"))
    assert file.times_us(lavapipe.identity) == {}


def test_a_damaged_file(lavapipe: Device, graph: Graph, cache: Path) -> None:
    cache.write_bytes(b"")
    plan_of(graph, lavapipe)
    for content, reason in damaged(cache):
        cache.write_bytes(content)
        with pytest.warns(RuntimeWarning) as caught:
            plan_of(graph, lavapipe)
        assert [str(each.message) for each in caught] == [f"{cache} {reason}; going on without it"]
        with pytest.raises(FormatError) as raised:
            tune(graph, lavapipe, Tuning())
        assert str(raised.value) == f"{cache} {reason}"
        assert cache.read_bytes() == content


def damaged(path: Path) -> Iterator[tuple[bytes, str]]:
    """Files that are no good, and what is said of each."""
    yield b"no database", "is not a usable tuning file: file is not a database"
    for script, reason in (
        ("create table x (y)", "is not a usable tuning file: it is another program's database"),
        (
            "pragma user_version = 99",
            f"is a tuning file of version 99, this vkbackend reads {tuning.VERSION}: "
            "delete it and tune again",
        ),
    ):
        path.unlink()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        yield path.read_bytes(), reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("time_us = 'soon'", "a time of 'soon'"),
        ("time_us = -1.0", "a time of -1.0"),
        ("modules = '[]'", "modules '[]'"),
        ("modules = '{'", "modules '{'"),
    ],
)
def test_rows_that_make_no_sense(tmp_path: Path, change: str, reason: str) -> None:
    file = Tuning(tmp_path / "t.sqlite")
    file.record("d", "n", [Measurement("c", 1.0, 0.1, 3, {})])
    assert file.times_us("d") == {("n", "c"): 1.0}
    assert file.times_us("other") == {}
    with contextlib.closing(sqlite3.connect(file.path)) as connection, connection:
        connection.execute(f"update times set {change}")
    with pytest.raises(FormatError) as caught:
        file.times_us("d")
    assert str(caught.value) == f"{file.path} is not a usable tuning file: {reason}"


# -- the command ----------------------------------------------------------------------------------


class Command:
    """`vkbackend tune` on lavapipe."""

    def __init__(self, device: Device, capsys: pytest.CaptureFixture[str]) -> None:
        self.name = device.info.name
        self._capsys = capsys

    def run(self, *arguments: object, code: int = 0) -> str:
        """What it prints, on one of the two streams."""
        found = cli.main(["tune", *map(str, arguments), "--device", self.name])
        printed = self._capsys.readouterr()
        assert found == code
        assert not (printed.out and printed.err)
        return printed.out or printed.err


@pytest.fixture
def command(lavapipe: Device, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line."""
    return Command(lavapipe, capsys)


@pytest.fixture
def network(graph: Graph, tmp_path: Path) -> Path:
    """The network as a file."""
    vkb.save(graph, tmp_path / "net.vkb")
    return tmp_path / "net.vkb"


def test_it_prints_what_it_did(command: Command, network: Path, cache: Path, tuned: Path) -> None:
    assert command.run("--import", tuned).startswith(f"{tuned}: ")
    title, *rows = command.run(network).splitlines()
    assert title.startswith(f"{network} on {command.name}: nothing new to measure, ")
    assert [row.split()[0] for row in rows] == ["untuned", "tuned", "load", "times"]
    assert rows[-1] == f"  times       {cache}"
    facts = json.loads(command.run(network, "--json"))
    assert (facts["candidates"], facts["nodes"]) == (0, facts["nodes_in_all"])
    assert facts["load_takes"] in ("tuned", "untuned")


def test_a_file_of_its_own(command: Command, network: Path, cache: Path, tuned: Path) -> None:
    printed = command.run(network, "--file", tuned)
    assert printed.endswith(
        f"`load` does not look there: `vkbackend tune --import {tuned}` hands it over.\n"
    )
    assert not cache.exists()


def test_an_interruption_is_told(
    command: Command, network: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = Summary(3, 1, 9, 50, interrupted=True, verdict=None)
    monkeypatch.setattr("vkbackend.commands.tune.tune", lambda *_, **__: summary)
    printed = command.run(network, code=130).splitlines()
    assert printed[0].startswith(
        f"{network} on {command.name}: 2 distinct nodes and copies (1 were known), 50 candidates "
        "measured in "
    )
    assert printed[1:] == [
        "Stopped by Ctrl-C after 3 of 9 nodes and copies: what was measured is kept, and the same "
        "command goes on from there.",
        "  load takes  the untuned plan until both were timed, which the end of a tuning does",
        f"  times       {cache}",
    ]


def test_times_move_between_machines(
    command: Command, lavapipe: Device, cache: Path, tuned: Path, tmp_path: Path
) -> None:
    count = Tuning(tuned).count()
    missing = f"nothing was tuned yet: {cache} does not exist"
    target = tmp_path / "moved.sqlite"
    assert command.run("--export", target, code=1) == f"vkbackend: error: {missing}\n"
    assert command.run("--import", tuned) == f"{tuned}: {count:,} times taken into {cache}\n"
    assert command.run("--export", target) == f"{target}: {count:,} times of {cache} added\n"
    identity = lavapipe.identity
    assert Tuning(target).times_us(identity) == Tuning(tuned).times_us(identity)
    assert Tuning(target).finished(identity) == Tuning(tuned).finished(identity)


def test_wrong_files(command: Command, cache: Path, tmp_path: Path) -> None:
    gone, bad = tmp_path / "gone.sqlite", tmp_path / "bad.sqlite"
    bad.write_text("no database")
    unusable = f"{bad} is not a usable tuning file: file is not a database"
    for arguments, message in (
        ([], "name a network to tune, or a file to --import or to --export"),
        (["--import", gone], f"{gone} does not exist"),
        (["--import", bad], unusable),
    ):
        assert command.run(*arguments, code=1) == f"vkbackend: error: {message}\n"
    assert not cache.exists()
