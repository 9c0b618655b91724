"""The tuning file: measured times by device, driver and shader modules, in SQLite."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vkbackend import env, shaders
from vkbackend.costs import Costs, graph_key
from vkbackend.device import Device
from vkbackend.errors import FormatError, ShaderError
from vkbackend.graph import Graph

VERSION = 2
WAIT_S = 10  # for another process that is writing
_TABLES = {  # modules last: they say whether a row still counts
    "times": "device text, node text, candidate text, time_us real, spread_us real, "
    "samples integer, modules text, primary key (device, node, candidate)",
    "nodes": "device text, node text, candidates text, modules text, "
    "primary key (device, node, candidates)",
    "verdicts": "device text, graph text, tuned_us real, untuned_us real, modules text, "
    "primary key (device, graph)",
}

Modules = Mapping[str, str]  # digests of shader modules by name


@dataclass(frozen=True)
class Measurement:
    """What one candidate of a node took: the least of some samples, and how far above it their
    median lies. Without samples: a time that it will not beat, for which it was passed over.
    """

    candidate: str
    time_us: float
    spread_us: float
    samples: int
    modules: Modules


@dataclass(frozen=True)
class Verdict:
    """What a whole network took at the least with and without the measured times."""

    tuned_us: float
    untuned_us: float

    @property
    def helps(self) -> bool:
        """Whether the tuned plan is the one to take."""
        return self.tuned_us <= self.untuned_us


def default_path() -> Path:
    """The file that `load` reads without being told."""
    return env.cache_directory() / "tuning.sqlite"


def measured_costs(graph: Graph, device: Device, tuning: Tuning | None = None) -> Costs | None:
    """Prices by what was measured on this device, where `load` takes them for this graph.

    Raises FormatError where the file is not one of ours.
    """
    tuning = tuning or Tuning()
    if not tuning.helps(device.identity, graph_key(graph)):
        return None
    times = tuning.times_us(device.identity)
    return Costs(device.info, times) if times else None


class Tuning:
    """Measured times in a file. What modules gave that have changed since does not count.

    Every method raises FormatError where the file is not one of ours, or cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()

    # -- reading ---------------------------------------------------------------------------------

    def times_us(self, device: str) -> dict[tuple[str, str], float]:
        """Times by (node key, candidate key); empty where nothing was tuned."""
        columns = "node, candidate, time_us, modules"
        rows = self._select(f"select {columns} from times where device = ?", device)
        return {
            (node, candidate): self._time(time_us)
            for node, candidate, time_us, _ in self._current(rows)
        }

    def measurements(self, device: str, node: str) -> dict[str, Measurement]:
        """What candidates of a node took, by candidate key; not those that were passed over."""
        columns = "candidate, time_us, spread_us, samples, modules"
        query = f"select {columns} from times where device = ? and node = ? and samples > 0"
        rows = self._current(self._select(query, device, node))
        found = [
            Measurement(key, self._time(time_us), self._time(spread_us), samples, json.loads(text))
            for key, time_us, spread_us, samples, text in rows
        ]
        return {measurement.candidate: measurement for measurement in found}

    def count(self) -> int:
        """How many candidates were measured, on all devices."""
        counts = self._select("select count(*) from times where samples > 0")
        return int(counts[0][0]) if counts else 0

    def finished(self, device: str) -> set[tuple[str, str]]:
        """Node keys with digests of candidates that need no more measuring."""
        query = "select node, candidates, modules from nodes where device = ?"
        rows = self._current(self._select(query, device))
        return {(node, candidates) for node, candidates, _ in rows}

    def verdict(self, device: str, graph: str) -> Verdict | None:
        """Of the two plans of this graph; None where they were not timed as they are now."""
        query = "select tuned_us, untuned_us, modules from verdicts where device = ? and graph = ?"
        for tuned_us, untuned_us, _ in self._current(self._select(query, device, graph)):
            return Verdict(self._time(tuned_us), self._time(untuned_us))
        return None

    def helps(self, device: str, graph: str) -> bool:
        """Whether the tuned plan of this graph was timed, and was no slower than the untuned."""
        verdict = self.verdict(device, graph)
        return verdict is not None and verdict.helps

    # -- writing ---------------------------------------------------------------------------------

    def record(self, device: str, node: str, measurements: Iterable[Measurement]) -> None:
        """Keeps what candidates of a node took."""
        rows = [
            (device, node, m.candidate, m.time_us, m.spread_us, m.samples, json.dumps(m.modules))
            for m in measurements
        ]
        self._insert("times", rows)

    def finish(self, device: str, node: str, candidates: str, modules: Modules) -> None:
        """Notes that these candidates of a node need no more measuring while the modules stay."""
        self._insert("nodes", [(device, node, candidates, json.dumps(modules))])

    def record_verdict(self, device: str, graph: str, modules: Modules, verdict: Verdict) -> None:
        """Keeps what a graph's two plans took; `modules` are those of both."""
        row = (device, graph, verdict.tuned_us, verdict.untuned_us, json.dumps(modules))
        self._insert("verdicts", [row])

    def drop_verdict(self, device: str, graph: str) -> None:
        """Forgets it: the times that it was about are changing."""
        with self._writing() as connection:
            condition = "device = ? and graph = ?"
            connection.execute(f"delete from verdicts where {condition}", (device, graph))

    def merge(self, other: Path) -> int:
        """Takes everything of another file, which counts where both know; returns how many times.

        Verdicts here about times that change so are forgotten. Raises FormatError where the other
        file does not exist, too.
        """
        if not other.exists():
            raise FormatError(f"{other} does not exist")
        source = Tuning(other)
        rows = {table: source._select(f"select * from {table}") for table in _TABLES}
        for row in rows["times"]:
            source._time(row[3])
        for found in rows.values():
            list(source._current(found))
        with self._writing() as connection:
            devices = {(row[0],) for row in rows["times"]}
            connection.executemany("delete from verdicts where device = ?", devices)
        for table, found in rows.items():
            self._insert(table, found)
        return source.count()

    # -- the file --------------------------------------------------------------------------------

    def _select(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Rows; none where there is no file, or an empty one."""
        if not self.path.exists():
            return []
        with self._connected(f"{self.path.resolve().as_uri()}?mode=ro") as connection:
            if self._is_empty(connection):
                return []
            return connection.execute(query, values).fetchall()

    def _insert(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if not rows:
            return
        places = ", ".join("?" * len(rows[0]))
        with self._writing() as connection:
            connection.executemany(f"insert or replace into {table} values ({places})", rows)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; makes the file and its tables where they are missing."""
        with contextlib.suppress(OSError):  # opening it will say what is wrong
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connected(self.path.resolve().as_uri()) as connection, connection:
            if self._is_empty(connection):
                connection.execute("begin immediate")
                for table, columns in _TABLES.items():
                    connection.execute(f"create table if not exists {table} ({columns})")
                connection.execute(f"pragma user_version = {VERSION}")
            yield connection

    @contextlib.contextmanager
    def _connected(self, uri: str) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(uri, timeout=WAIT_S, uri=True)) as connection:
                yield connection
        except sqlite3.Error as error:
            raise self._unusable(str(error)) from None

    def _is_empty(self, connection: sqlite3.Connection) -> bool:
        """Whether nothing was ever written. FormatError on another version, or another's file."""
        version = connection.execute("pragma user_version").fetchone()[0]
        if version == VERSION:
            return False
        if version == 0:
            if connection.execute("select count(*) from sqlite_master").fetchone()[0]:
                raise self._unusable("it is another program's database")
            return True
        raise FormatError(
            f"{self.path} is a tuning file of version {version}, this vkbackend reads {VERSION}: "
            "delete it and tune again"
        )

    def _current(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The rows whose modules are those of today."""
        current: dict[object, bool] = {}
        for row in rows:
            modules = row[-1]
            if modules not in current:
                current[modules] = self._are_current(modules)
            if current[modules]:
                yield row

    def _are_current(self, text: object) -> bool:
        try:
            modules = json.loads(str(text))
        except ValueError:
            modules = None
        if not isinstance(modules, dict):
            raise self._unusable(f"modules {text!r}")
        try:
            return all(shaders.load(name).digest == digest for name, digest in modules.items())
        except ShaderError:
            return False

    def _time(self, value: object) -> float:
        if not isinstance(value, float) or not (math.isfinite(value) and value >= 0):
            raise self._unusable(f"a time of {value!r}")
        return value

    def _unusable(self, reason: str) -> FormatError:
        return FormatError(f"{self.path} is not a usable tuning file: {reason}")
