"""`vkbackend tune`: measures on a device which algorithms and layouts are the fastest there."""

from __future__ import annotations

import math
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vkbackend.commands import options as shared
from vkbackend.commands.text import Bar, Spread, print_json, table
from vkbackend.device import Device
from vkbackend.errors import InputError
from vkbackend.tune import Progress, Summary, tune
from vkbackend.tuning import Tuning, Verdict, default_path

SUMMARY = "measure what is the fastest for each node on a device, for `load` to take"
EXAMPLE = """vkbackend tune net.vkb --budget 300
vkbackend tune --export board.sqlite
vkbackend tune --import board.sqlite"""

INTERRUPTED = 130  # as a shell reports it


def add_options(parser: ArgumentParser) -> None:
    """NETWORK, the device, how long, and which file."""
    parser.add_argument(
        "network",
        metavar="NETWORK",
        type=Path,
        nargs="?",
        help=f"a .vkb file, or one that ends in {shared.FOREIGN}; not needed to move times",
    )
    shared.add_device(parser)
    parser.add_argument(
        "--budget",
        metavar="SECONDS",
        type=_seconds,
        default=120.0,
        help="stop measuring after so long (default: 120); a later run goes on from there, as it "
        "does after Ctrl-C",
    )
    parser.add_argument(
        "--again", action="store_true", help="measure anew what is known from earlier runs"
    )
    parser.add_argument(
        "--file",
        metavar="FILE",
        type=Path,
        help="keep the times there instead of in the file that `load` reads",
    )
    parser.add_argument(
        "--import",
        dest="source",
        metavar="FILE",
        type=Path,
        help="first take the times of another tuning file, of another machine perhaps",
    )
    parser.add_argument(
        "--export",
        dest="target",
        metavar="FILE",
        type=Path,
        help="in the end add all times to another tuning file, or make one",
    )
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Takes times in, measures, hands times out; prints. The exit code is 130 after Ctrl-C."""
    if not (options.network or options.source or options.target):
        raise InputError("name a network to tune, or a file to --import or to --export")
    tuning = Tuning(options.file)
    facts: dict[str, Any] = {"file": str(tuning.path)}
    summary = None
    if options.source:
        facts["imported"] = tuning.merge(options.source)
    if options.network:
        summary = _tune(options, tuning, facts)
    if options.target:
        facts["exported"] = _export(tuning, options.target)
    print_json(facts) if options.json else _print(options, facts, summary)
    return INTERRUPTED if summary is not None and summary.interrupted else 0


def _tune(options: Namespace, tuning: Tuning, facts: dict[str, Any]) -> Summary:
    graph = shared.read_network(options.network)
    start_s = time.monotonic()
    with Device.open(options.device) as device, Bar("tuning") as bar:

        def show(progress: Progress) -> None:
            note = f"{progress.done} of {progress.total} nodes, {time.monotonic() - start_s:.0f} s"
            bar.show(progress.done / progress.total, f"{note}: {progress.node}")

        summary = tune(
            graph, device, tuning, budget_s=options.budget, again=options.again, progress=show
        )
        facts["device"] = device.info.name
    facts |= asdict(summary)
    facts["seconds"] = time.monotonic() - start_s
    facts["load_takes"] = "tuned" if summary.verdict and summary.verdict.helps else "untuned"
    return summary


def _export(tuning: Tuning, target: Path) -> int:
    if not tuning.path.exists():
        raise InputError(f"nothing was tuned yet: {tuning.path} does not exist")
    return Tuning(target).merge(tuning.path)


def _print(options: Namespace, facts: dict[str, Any], summary: Summary | None) -> None:
    if options.source:
        print(f"{options.source}: {facts['imported']:,} times taken into {facts['file']}")
    if summary is not None:
        _print_summary(options, facts, summary)
    if options.target:
        print(f"{options.target}: {facts['exported']:,} times of {facts['file']} added")


def _print_summary(options: Namespace, facts: dict[str, Any], summary: Summary) -> None:
    print(
        f"{options.network} on {facts['device']}: {_measured(summary)} in {facts['seconds']:.1f} s"
    )
    if not summary.is_complete:
        why = "Stopped by Ctrl-C" if summary.interrupted else "The time was over"
        print(
            f"{why} after {summary.nodes} of {summary.nodes_in_all} nodes and copies: what was "
            "measured is kept, and the same command goes on from there."
        )
    rows = _verdict_rows(summary.verdict) if summary.verdict else []
    print(
        table([*rows, ("load takes", _load_takes(summary)), ("times", facts["file"])], "<<", "  ")
    )
    if options.file and options.file != default_path():
        print(
            f"`load` does not look there: `vkbackend tune --import {options.file}` hands it over."
        )


def _measured(summary: Summary) -> str:
    """What was measured this time, in a few words."""
    if not summary.candidates and summary.is_complete:
        return f"nothing new to measure, {summary.nodes_in_all} nodes and copies are known"
    known = f" ({summary.nodes_before} were known)" if summary.nodes_before else ""
    nodes = summary.nodes - summary.nodes_before
    return f"{nodes} distinct nodes and copies{known}, {summary.candidates:,} candidates measured"


def _verdict_rows(verdict: Verdict) -> list[tuple[str, str]]:
    untuned, tuned = (_time(time_us) for time_us in (verdict.untuned_us, verdict.tuned_us))
    if verdict.tuned_us == verdict.untuned_us:
        return [("untuned", f"{untuned} on the GPU"), ("tuned", "the same plan")]
    ratio = verdict.untuned_us / max(verdict.tuned_us, 1e-9)
    return [("untuned", f"{untuned} on the GPU"), ("tuned", f"{tuned}, {ratio:.2f} times as fast")]


def _load_takes(summary: Summary) -> str:
    if summary.verdict is None:
        return "the untuned plan until both were timed, which the end of a tuning does"
    return "the tuned plan" if summary.verdict.helps else "the untuned plan: it was the faster one"


def _time(time_us: float) -> str:
    return Spread(time_us, time_us, time_us).times()[0]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ArgumentTypeError(f"a number of seconds above 0, got {text!r}")
    return seconds
