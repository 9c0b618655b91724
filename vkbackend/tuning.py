"""The tuning file: measured times by device, driver and shader modules, in SQLite."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from vkbackend import env, shaders
from vkbackend.errors import FormatError, ShaderError

VERSION = 1
_SCHEMA = """
create table if not exists times (
    device text, node text, candidate text, modules text,
    median_us real, spread_us real, samples integer,
    primary key (device, node, candidate)
);
create table if not exists verdicts (
    device text, graph text, tuned_us real, untuned_us real, primary key (device, graph)
);
"""


def default_path() -> Path:
    """The file that `load` reads without being told."""
    return env.cache_directory() / "tuning.sqlite"


class Tuning:
    """Measured times in a file. Times of modules that have changed since do not count."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Raises FormatError where the file is not one of ours."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=10)
            try:
                version = connection.execute("pragma user_version").fetchone()[0]
                if version not in (0, VERSION):
                    raise FormatError(
                        f"{self.path} is a tuning file of version {version}, this vkbackend "
                        f"reads {VERSION}: tune again"
                    )
                with connection:
                    connection.executescript(_SCHEMA)
                    connection.execute(f"pragma user_version = {VERSION}")
                    yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise FormatError(f"{self.path} is not a usable tuning file: {error}") from None

    def times_us(self, device: str) -> dict[tuple[str, str], float]:
        """Medians by (node key, candidate key); empty where nothing was tuned."""
        if not self.path.exists():
            return {}
        with self._open() as connection:
            rows = connection.execute(
                "select node, candidate, modules, median_us from times where device = ?", (device,)
            ).fetchall()
        current: dict[str, bool] = {}
        for modules in {row[2] for row in rows}:
            current[modules] = _is_current(json.loads(modules))
        return {(node, way): median for node, way, modules, median in rows if current[modules]}

    def record(
        self,
        device: str,
        node: str,
        candidate: str,
        modules: Mapping[str, str],
        median_us: float,
        spread_us: float,
        samples: int,
    ) -> None:
        """Keeps one measurement; `modules` are digests by name."""
        row = (device, node, candidate, json.dumps(modules), median_us, spread_us, samples)
        with self._open() as connection:
            connection.execute("insert or replace into times values (?, ?, ?, ?, ?, ?, ?)", row)

    def record_verdict(self, device: str, graph: str, tuned_us: float, untuned_us: float) -> None:
        """Keeps what whole networks took with and without the measured times."""
        with self._open() as connection:
            connection.execute(
                "insert or replace into verdicts values (?, ?, ?, ?)",
                (device, graph, tuned_us, untuned_us),
            )

    def helps(self, device: str, graph: str) -> bool:
        """Whether the tuned plan of this graph was the better one, where both were timed."""
        if not self.path.exists():
            return True
        with self._open() as connection:
            row = connection.execute(
                "select tuned_us, untuned_us from verdicts where device = ? and graph = ?",
                (device, graph),
            ).fetchone()
        return row is None or row[0] <= row[1]

    def merge(self, other: Path) -> int:
        """Takes every measurement of another file; returns how many. FormatError on a bad one."""
        if not other.exists():
            raise FormatError(f"{other} does not exist")
        with Tuning(other)._open() as source:
            rows = source.execute("select * from times").fetchall()
        with self._open() as connection:
            connection.executemany(
                "insert or replace into times values (?, ?, ?, ?, ?, ?, ?)", rows
            )
        return len(rows)


def _is_current(modules: Mapping[str, str]) -> bool:
    try:
        return all(shaders.load(name).digest == digest for name, digest in modules.items())
    except ShaderError:
        return False
