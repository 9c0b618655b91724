"""What the convolution benchmark found: tables for people, and everything as JSON."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.layers import Layer
from benchmarks.timing import Variant
from vkbackend.commands.text import table
from vkbackend.gpu import GpuInfo
from vkbackend.ops.base import Candidate


@dataclass(frozen=True)
class LayerResult:
    """One layer's variants, fastest first, and the one that the costs would take."""

    layer: Layer
    macs: int  # of the layer as written, for the whole batch
    variants: Sequence[Variant]
    auto: Variant

    @property
    def best(self) -> Variant:
        """The fastest."""
        return self.variants[0]

    def best_of(self, algorithm: str) -> Variant | None:
        """The fastest way of one algorithm, where it was measured."""
        return next((v for v in self.variants if v.candidate.algorithm == algorithm), None)

    @property
    def direct_over_im2col(self) -> float | None:
        """Time of the best direct way over that of the best im2col way."""
        direct, im2col = self.best_of("direct"), self.best_of("im2col")
        return direct.times.median_us / im2col.times.median_us if direct and im2col else None

    @property
    def auto_over_best(self) -> float:
        """What the costs' choice loses: 1.0 is nothing."""
        return self.auto.times.median_us / self.best.times.median_us

    def gmacs_per_s(self, variant: Variant) -> float:
        """10^9 multiply-accumulates a second, padding not counted."""
        return self.macs / variant.times.median_us / 1e3


def way(candidate: Candidate) -> str:
    """Algorithm, dot product, tile and layouts: `direct @8x4 4C->4C`."""
    name, _, layouts = candidate.label.rpartition(" ")
    return f"{name} @{candidate.tile[0]}x{candidate.tile[1]} {layouts}"


def layer_table(result: LayerResult, verbose: bool) -> str:
    """The best way of each algorithm, or every way."""
    clock = result.best.times.clock
    rows = [("", f"{clock} us", "half lie in", "gpu", "wait", "cpu", "GMAC/s", "x")]
    algorithms = {v.candidate.algorithm for v in result.variants}
    for variant in result.variants:
        algorithm = variant.candidate.algorithm
        if not verbose and algorithm not in algorithms:
            continue
        algorithms.discard(algorithm)
        low, high = variant.times.quartiles_us
        rows.append(
            (
                way(variant.candidate) + (" (auto)" if variant is result.auto else ""),
                f"{variant.times.median_us:.1f}",
                f"{low:.1f} to {high:.1f}",
                _median(variant.times.gpu_us),
                _median(variant.times.wait_us),
                _median(variant.times.cpu_us),
                f"{result.gmacs_per_s(variant):.2f}",
                f"{variant.times.median_us / result.best.times.median_us:.2f}",
            )
        )
    title = f"{result.layer.name} ({result.layer.network}, {result.macs / 1e6:.1f} million MACs)"
    return f"{title}\n{table(rows, '<>>>>>>>', '  ')}"


def summary_table(results: Sequence[LayerResult]) -> str:
    """One line per layer."""
    rows = [("layer", "direct us", "im2col us", "ratio", "best", "us", "GMAC/s", "auto x")]
    for result in results:
        ratio = result.direct_over_im2col
        rows.append(
            (
                result.layer.name,
                _median_of(result.best_of("direct")),
                _median_of(result.best_of("im2col")),
                "-" if ratio is None else f"{ratio:.2f}",
                way(result.best.candidate),
                _median_of(result.best),
                f"{result.gmacs_per_s(result.best):.2f}",
                f"{result.auto_over_best:.2f}",
            )
        )
    return table(rows, "<>>><>>>")


def _median(samples_us: Sequence[float]) -> str:
    return f"{statistics.median(samples_us):.1f}" if samples_us else "-"


def _median_of(variant: Variant | None) -> str:
    return "-" if variant is None else f"{variant.times.median_us:.1f}"


def facts(gpu: GpuInfo, results: Sequence[LayerResult], settings: dict[str, Any]) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    packages = ("vkbackend", "numpy", "vulkan")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "host": f"{platform.system()} {platform.machine()}",
        "device": gpu.to_json(),
        "settings": settings,
        "layers": [_layer_facts(result) for result in results],
    }


def _layer_facts(result: LayerResult) -> dict[str, Any]:
    return {
        "name": result.layer.name,
        **vars(result.layer),
        "macs": result.macs,
        "direct_over_im2col": result.direct_over_im2col,
        "auto_over_best": result.auto_over_best,
        "best": way(result.best.candidate),
        "auto": way(result.auto.candidate),
        "variants": [_variant_facts(result, variant) for variant in result.variants],
    }


def _variant_facts(result: LayerResult, variant: Variant) -> dict[str, Any]:
    candidate, times = variant.candidate, variant.times
    low, high = times.quartiles_us
    return {
        "algorithm": candidate.algorithm,
        "dot": candidate.dot.value,
        "tile": list(candidate.tile),
        "input_layout": candidate.input_layouts[0],
        "output_layout": candidate.output_layout,
        "median_us": times.median_us,
        "quartiles_us": [low, high],
        "gmacs_per_s": result.gmacs_per_s(variant),
        "over_best": times.median_us / result.best.times.median_us,
        "gpu_us": times.gpu_us,
        "submit_to_wait_us": times.wait_us,
        "cpu_us": times.cpu_us,
    }
