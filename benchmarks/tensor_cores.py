"""Everything about cooperative matrices on a GPU machine: equality, layers, whole networks.

python benchmarks/tensor_cores.py [--device NAME] [--batch 1,32,128] [--skip equality,layers,models]

First every candidate on cooperative matrices computes every case of the tests; a wrong bit ends it.
So do those on matrices of float16, as if there were none of int8, where the self-test allows it.
Then single layers, whose times are medians on the GPU's clock, of runs that follow each other; in
the end benchmarks/models.py. What others take for the layers of batch 1 was measured once on an
H200 (driver 580.159, 2026-11-22): microseconds of ExecuTorch's best kernel, of ncnn 1.0.20261020
with int8 on Vulkan, and of cuDNN in fp16; elsewhere those columns mean nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import models
from benchmarks.layers import LAYERS, PEERS, Layer
from tests.cases.case import Case
from tests.gpu.cooperative_matrices import CASES, try_case, without_int8
from vkbackend.commands.text import table
from vkbackend.contest import Contender, contender_of
from vkbackend.costs import Costs
from vkbackend.device import Device
from vkbackend.errors import VkBackendError
from vkbackend.graph import BoundNode
from vkbackend.ops.base import Candidate
from vkbackend.weights import WeightStore

WARM_UP_S = 0.5
RUNS = 30
TRIED = 6  # the cheapest by the cost table, of each layer
# ExecuTorch's best, ncnn, cuDNN fp16; None: not measured.
OTHERS: dict[str, tuple[float, float, float | None]] = {
    "3-64_224_7x7_s2": (22, 37, None),
    "64-64_56_3x3": (32, 81, 14),
    "128-128_28_3x3": (60, 120, None),
    "128-128_56_3x3_s2": (60, 252, None),
    "256-256_14_3x3": (109, 114, 16),
    "512-512_7_3x3": (204, 159, 17),
    "64-256_56_1x1": (9, 51, None),
    "256-64_56_1x1": (12, 54, None),
    "1024-256_14_1x1": (35, 118, None),
    "512-2048_7_1x1": (24, 91, None),
    "96-24_56_1x1": (7, 42, None),
    "960-320_7_1x1": (40, 111, None),
    "32-32_112_3x3_dw": (6, 50, None),
    "144-144_56_3x3_dw": (7, 54, None),
    "128-128_56_3x3_g4": (25, 100, None),
}
LARGE = (
    (Layer("large", 64, 64, 56, 3), 32, 26.0),
    (Layer("large", 256, 256, 14, 3), 32, 20.0),
    (Layer("large", 512, 512, 28, 3), 32, 153.0),
    (Layer("large", 1024, 1024, 28, 3), 64, 1207.0),
)


def check(device: Device) -> str:
    """How many candidates gave the reference's bits; VkBackendError on the first that did not."""
    count = _check_cases(device, all_tiles=True)
    with without_int8(device):
        proven = ", ".join(map(str, device.info.exact_float_matrices)) or "no shape"
        of_float_count = _check_cases(device, all_tiles=False)
    return (
        f"{count} candidates are exact; on matrices of float16 {of_float_count} are, "
        f"and the self-test found exact: {proven}"
    )


def _check_cases(device: Device, *, all_tiles: bool) -> int:
    count = 0
    for case in CASES:
        tried, wrong = try_case(case, device, all_tiles=all_tiles)
        if wrong:
            raise VkBackendError(f"{case.name}: wrong values from {', '.join(wrong)}")
        count += tried
    return count


def fastest(case: Case, device: Device) -> tuple[float, Candidate, BoundNode]:
    """The least median of the cheapest candidates, in microseconds, all sampled in turn."""
    (node,) = case.graph().bound_nodes()
    candidates = list(node.op.candidates(node, device.info).eligible)
    prices = Costs(device.info).prices_us(node, candidates)
    kernels: dict[object, Candidate] = {}
    for _, candidate in sorted(zip(prices, candidates, strict=True), key=lambda entry: entry[0]):
        kernels.setdefault(replace(candidate, input_layouts=(), output_layout=""), candidate)
    weights = WeightStore(device)
    with contextlib.ExitStack() as stack:
        contenders = []
        for candidate in list(kernels.values())[:TRIED]:
            contender = contender_of(node, candidate, device, weights)
            if contender is not None:
                contenders.append(stack.enter_context(contextlib.closing(contender)))
        medians = _medians_us(contenders)
    best_us, best = min(zip(medians, contenders, strict=True), key=lambda entry: entry[0])
    return best_us, best.candidate, node


def _medians_us(contenders: Sequence[Contender]) -> list[float]:
    """In turn, after what wakes the GPU up: else the first one would be timed at lower clocks."""
    end_s = time.monotonic() + WARM_UP_S
    while time.monotonic() < end_s:
        for contender in contenders:
            contender.stopwatch.run()
    rounds = [[_time_us(contender) for contender in contenders] for _ in range(RUNS)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def _time_us(contender: Contender) -> float:
    times = contender.stopwatch.run()
    if times is None:
        raise VkBackendError("this device has no time stamps, and layers are timed by its clock")
    return times[contender.step]


def layers(device: Device) -> str:
    """Layers of batch 1 beside others, then large ones."""
    rows = [("layer", "us", "ExecuTorch", "ncnn", "cuDNN fp16", "x ExecuTorch", "by")]
    ratios = []
    for name in PEERS:
        time_us, best, _ = fastest(LAYERS[name].case(1), device)
        executorch, ncnn, cudnn = OTHERS[name]
        ratios.append(executorch / time_us)
        others = f"{executorch:.0f}", f"{ncnn:.0f}", "-" if cudnn is None else f"{cudnn:.0f}"
        rows.append((name, f"{time_us:.1f}", *others, f"{ratios[-1]:.2f}", _way(best)))
    mean = statistics.geometric_mean(ratios)
    text = table(rows, "<>>>>><") + f"\ngeometric mean against ExecuTorch's best: {mean:.2f}\n\n"
    rows = [("layer", "batch", "us", "TOPS", "cuDNN fp16", "x cuDNN", "by")]
    for layer, batch, cudnn_us in LARGE:
        time_us, best, node = fastest(layer.case(batch), device)
        macs = node.outputs[0].shape[0] * layer.size**2 * layer.out_channels
        macs *= layer.in_channels * layer.kernel**2
        figures = f"{time_us:.1f}", f"{2 * macs / time_us / 1e6:.0f}", f"{cudnn_us:.0f}"
        ratio = f"{cudnn_us / time_us:.2f}"
        rows.append((layer.name, str(batch), *figures, ratio, _way(best)))
    return text + table(rows, "<>>>>><")


def _way(candidate: Candidate) -> str:
    return f"{candidate.label} @{candidate.tile[0]}x{candidate.tile[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks and measures; 1 on an error, which it prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", help="index or part of a name (default: the best)")
    parser.add_argument("--batch", default="1,32,128", help="of whole networks")
    parser.add_argument("--skip", default="", help="of equality, layers, models: these not")
    options = parser.parse_args(arguments)
    skipped = options.skip.split(",")
    try:
        with Device.open(options.device) as device:
            print(f"{device.info.name} ({device.info.driver_info})")
            if "equality" not in skipped:
                print(check(device), flush=True)
            if "layers" not in skipped:
                print(layers(device), flush=True)
    except VkBackendError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if "models" in skipped:
        return 0
    chosen = ["--device", options.device] if options.device else []
    return models.main([*chosen, "--batch", options.batch])


if __name__ == "__main__":
    raise SystemExit(main())
