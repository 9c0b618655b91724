"""`vkbackend demo`: handwritten digits, recognised by an int8 network on this machine."""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vkbackend import fileformat
from vkbackend.commands import options as shared
from vkbackend.commands.text import Spread, percent, print_json, progress, shortened, size, table
from vkbackend.demo import digits_data
from vkbackend.errors import VkBackendError
from vkbackend.frontends.onnx.oracle import run_each
from vkbackend.graph import Array
from vkbackend.ops.base import Candidate
from vkbackend.plan import Plan
from vkbackend.resolve import resolve
from vkbackend.runtime import Model, load

SUMMARY = "recognise handwritten digits, and compare with ONNX Runtime"
EXAMPLE = "vkbackend demo"

FOLDER = Path(digits_data.__file__).parent
NETWORK = FOLDER / "digits.onnx"
FLOAT_NETWORK = FOLDER / "digits_float.onnx"
OTHER_GPUS = ("mali_g610", "adreno_750")
PICTURES = 4
NODE_WIDTH, CELL_WIDTH = 15, 25
SHADES, PLAIN_SHADES = " ░▒▓█", " .:*#"
WHITE_TO_BLACK = 16  # the scans' values


@dataclass(frozen=True)
class Answers:
    """What a network said to every scan: logits, and how long each call took, where timed."""

    logits: Array
    times_us: tuple[float, ...] = ()

    @property
    def digits(self) -> Array:
        """The digit with the greatest logit."""
        return np.asarray(self.logits.argmax(axis=1))


def add_options(parser: ArgumentParser) -> None:
    """--device, --json."""
    shared.add_device(parser)
    shared.add_json(parser)


def run(options: Namespace) -> int:
    """Exports the network, loads it, shows what it recognises and how it was resolved."""
    graph = shared.read_foreign(NETWORK)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digits.vkb"
        fileformat.save(graph, file)
        file_size = file.stat().st_size
        model = load(file, device=options.device)
    with model:
        plans = [model.plan, *(resolve(graph, name) for name in OTHER_GPUS)]
        problems: list[str] = []
        scans = _scans(problems)
        answers = _answer(model, scans.test_images) if scans else None
        oracles = _oracles(scans.test_images, problems) if scans else {}
        name = model.device.info.name
    if options.json:
        print_json(_json(name, scans, answers, oracles, plans, problems))
        return 0
    print(f"Handwritten digits on {name}")
    print(f"An int8 network of {len(graph.nodes)} nodes, exported to one file of {size(file_size)}")
    if scans and answers:
        print()
        print(_accuracy(scans, answers, oracles))
        print()
        print(_pictures(scans, answers))
    for problem in problems:
        print(f"\n{problem}")
    print("\nOne file, resolved for three GPUs: algorithm/dot product and layouts of every node")
    print(_plans(plans))
    return 0


def _scans(problems: list[str]) -> digits_data.Digits | None:
    try:
        return digits_data.load()
    except VkBackendError as error:
        problems.append(str(error))
        return None


def _answer(model: Model, images: Array) -> Answers:
    """Calls the model once for each scan."""
    logits, times_us = [], []
    for index in progress(range(len(images)), "recognising"):
        start = time.perf_counter()
        logits.append(model(images[index : index + 1]))
        times_us.append(1e6 * (time.perf_counter() - start))
    return Answers(np.concatenate(logits), tuple(times_us))


def _oracles(images: Array, problems: list[str]) -> dict[str, Answers]:
    """ONNX Runtime's answers with the int8 and with the float network."""
    try:
        return {
            "int8": Answers(run_each(NETWORK, images)),
            "float": Answers(run_each(FLOAT_NETWORK, images)),
        }
    except VkBackendError as error:
        problems.append(str(error))
        return {}


def _equal_logits(answers: Answers, oracle: Answers) -> int:
    """How many logits have the same bits."""
    same: Array = answers.logits.view(np.uint32) == oracle.logits.view(np.uint32)
    return int(same.sum())


def _accuracy(scans: digits_data.Digits, answers: Answers, oracles: dict[str, Answers]) -> str:
    truth = scans.test_labels
    shown = {"int8, this device": answers}
    shown |= {f"{kind}, ONNX Runtime": oracle for kind, oracle in oracles.items()}
    rows = [("", "right", "accuracy")]
    for name, each in shown.items():
        right = int((each.digits == truth).sum())
        rows.append((name, f"{right} of {len(truth)}", percent(right, len(truth))))
    lines = [f"{len(truth)} scans that training never saw:", table(rows, "<>>", "  "), ""]
    if "int8" in oracles:
        equal, total = _equal_logits(answers, oracles["int8"]), answers.logits.size
        lines.append(f"Same bits as ONNX Runtime: {equal:,} of {total:,} logits")
    spread = Spread.of(answers.times_us)
    lines.append(f"Time per image: {spread.median / 1000:.2f} ms (median, one image at a time)")
    return "\n".join(lines)


def _pictures(scans: digits_data.Digits, answers: Answers) -> str:
    """Some scans side by side, a wrongly recognised one last where there is one."""
    columns = []
    for index in _picked(scans.test_labels, answers.digits):
        answer, truth = answers.digits[index], scans.test_labels[index]
        verdict = f"it is {truth}" if answer == truth else f"WRONG, it is {truth}"
        columns.append([f"answer {answer}", verdict, *_picture(scans.test_images[index, 0])])
    return table(list(zip(*columns, strict=True)), "<" * len(columns), "  ")


def _picked(truth: Array, answers: Array) -> list[int]:
    right = np.flatnonzero(truth == answers)
    wrong = np.flatnonzero(truth != answers)[:1]
    first_of_digit = {int(truth[index]): int(index) for index in right[::-1]}
    # 8, 5 and 3 look the most alike.
    preferred = [digit for digit in (8, 5, 3, *range(10)) if digit in first_of_digit]
    picked = [first_of_digit[digit] for digit in dict.fromkeys(preferred)]
    return [*picked[: PICTURES - len(wrong)], *(int(index) for index in wrong)]


def _picture(image: Array) -> list[str]:
    """A scan as text, two characters a pixel; plain characters where the terminal has no others."""
    shades = SHADES
    try:
        SHADES.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        shades = PLAIN_SHADES
    levels = np.ceil(image / WHITE_TO_BLACK * (len(shades) - 1)).astype(int)
    return ["".join(shades[level] * 2 for level in row) for row in levels]


def _plans(plans: Sequence[Plan]) -> str:
    """Nodes against GPUs: algorithm, dot product and layouts in each cell."""
    rows = [("", *(shortened(plan.gpu.name, CELL_WIDTH) for plan in plans))]
    chosen = [{step.node.name: _cell(step.choice.candidate) for step in p.steps} for p in plans]
    for node in plans[0].graph.nodes:
        cells = (cells.get(node.name, "") for cells in chosen)
        rows.append((shortened(node.name, NODE_WIDTH), *cells))
    relayouts = [sum(step.is_relayout for step in plan.steps) for plan in plans]
    rows.append(("relayouts", *map(str, relayouts)))
    return table(rows, "<" * len(rows[0]))


def _cell(candidate: Candidate) -> str:
    """Algorithm, dot product, and the layouts, or the layout where all are the same."""
    before, after = candidate.input_layouts, candidate.output_layout
    layouts = after if set(before) == {after} else f"{before[0]}->{after}"
    return f"{candidate.label.split()[0]} {layouts}"


def _json(
    name: str,
    scans: digits_data.Digits | None,
    answers: Answers | None,
    oracles: dict[str, Answers],
    plans: Sequence[Plan],
    problems: Sequence[str],
) -> dict[str, Any]:
    facts: dict[str, Any] = {"device": name, "problems": list(problems)}
    if scans and answers:
        truth = scans.test_labels
        facts["scans"] = len(truth)
        facts["right"] = int((answers.digits == truth).sum())
        facts["time_us"] = Spread.of(answers.times_us)._asdict()
        for kind, oracle in oracles.items():
            facts[f"right_{kind}_onnxruntime"] = int((oracle.digits == truth).sum())
        if "int8" in oracles:
            facts["logits"] = answers.logits.size
            facts["equal_logits"] = _equal_logits(answers, oracles["int8"])
    facts["plans"] = [plan.to_json() for plan in plans]
    return facts
