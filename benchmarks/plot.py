"""A picture of the benchmark: direct against im2col per layer, and the best layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import LayerResult
from vkbackend.errors import InputError


def require_matplotlib() -> None:
    """InputError where it is not installed: said before an hour of measuring, not after."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError(
            'a plot needs matplotlib: install it with pip install "vkbackend[plot]"'
        ) from None


def draw(results: Sequence[LayerResult], device: str, path: Path) -> None:
    """Bars of time(direct) / time(im2col): left of 1 direct wins. InputError without both."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [(r, r.direct_over_im2col) for r in results]
    pairs = [(r, ratio) for r, ratio in reversed(shown) if ratio is not None]
    if not pairs:
        raise InputError("nothing to draw: no layer was computed both by direct and by im2col")
    figure = Figure(figsize=(9, 1.2 + 0.28 * len(pairs)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ratios = [ratio for _, ratio in pairs]
    colours = ["tab:blue" if ratio < 1 else "tab:orange" for ratio in ratios]
    axes.barh(range(len(pairs)), [ratio - 1 for ratio in ratios], left=1.0, color=colours)
    axes.set_yticks(range(len(pairs)), [result.layer.name for result, _ in pairs], fontsize=8)
    axes.axvline(1.0, color="black", linewidth=0.8)
    for row, (result, ratio) in enumerate(pairs):
        best = result.best.candidate
        text = f" {ratio:.2f}  best: {best.algorithm} {best.input_layouts[0]}"
        axes.text(max(ratio, 1.0), row, text, va="center", fontsize=7)
    axes.set_xlim(0, max(1.2, *ratios) * 1.35)
    axes.set_xlabel("time of direct / time of im2col (blue: direct is faster)")
    axes.set_title(f"int8 convolutions on {device}", fontsize=10)
    axes.margins(y=0.01)
    figure.savefig(path, dpi=120)
