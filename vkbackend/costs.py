"""What a candidate or a relayout costs on a GPU: the one place where preference is decided.

A cost is an estimate in microseconds: launches + arithmetic + memory traffic, from a table per GPU
family. Each table names its sources. Only ratios within one table mean anything.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vkbackend.gpu import Dot, Family, GpuInfo
from vkbackend.graph import BoundNode, Graph, Quantization
from vkbackend.ops.base import Candidate, Operator

Tile = tuple[int, int]


@dataclass(frozen=True)
class CostTable:
    """One family's figures.

    Rates are of a busy device with plain arithmetic; `dot_speedup` multiplies them where the
    device prefers that form. Factors multiply the time of what they name.
    """

    source: str
    launch_us: float
    macs_per_us: float
    bytes_per_us: float
    gather_factor: float = 1.0  # of bytes of im2col's columns: a gather computes addresses too
    dot_speedup: float = 1.0
    form_speedup: Mapping[Dot, float] = field(default_factory=dict)  # against plain arithmetic
    algorithm_factor: Mapping[str, float] = field(default_factory=dict)
    layout_factor: Mapping[tuple[str, str], float] = field(default_factory=dict)
    tile_factor: Mapping[Tile, float] = field(default_factory=dict)


_LAVAPIPE = CostTable(
    source=(
        "fitted to benchmarks/conv2d.py on lavapipe 22.3.6, 2 cores, within 9% at the median: "
        "loads go lane by lane, so that large tiles pay, weights that lanes load for each other "
        "pay more, and layouts hardly matter"
    ),
    launch_us=40.0,
    macs_per_us=35_000.0,
    bytes_per_us=1300.0,
    form_speedup={Dot.LANES: 1.35},
    algorithm_factor={
        "direct": 1.07,
        "implicit_gemm": 2.0,
        "depthwise": 2.9,
        "depthwise_rows": 1.8,
        "depthwise_dot": 1.5,
        "rows": 10.0,
        "rows_together": 30.0,  # 64 lanes in turn, and barriers
        "workgroup_sum": 210.0,  # of means: 64 lanes in turn, and a barrier
        "lane_sum": 60.0,
        "coopmat": 8.0,  # one lane after the other: to test with, not to be fast
        "coopmat_window": 8.0,
    },
    layout_factor={
        ("pointwise", "4C"): 1.03,
        ("pointwise", "4W4C"): 1.13,
        ("direct", "4C"): 1.03,
        ("depthwise", "4C"): 1.03,
        ("depthwise", "4W4C"): 1.1,
        ("depthwise_rows", "4C"): 1.1,
        ("depthwise_rows", "4W4C"): 1.1,
        ("lane_sum", "4C"): 1.03,  # a layout more is a convolution kernel more to compile
        ("lane_sum", "4W4C"): 1.03,
    },
    tile_factor={
        (8, 8): 1.0,
        (7, 8): 1.01,
        (8, 4): 1.28,
        (4, 4): 1.43,
        (8, 2): 1.7,
        (4, 2): 1.9,
        (2, 4): 2.25,
        (2, 2): 2.6,
        (1, 4): 3.9,
        (7, 1): 0.82,
        (4, 1): 1.0,
        (2, 1): 1.31,
        (1, 1): 2.2,
    },
)

_MALI = CostTable(
    source=(
        "im2col with 4C beats direct on Mali for every eligible convolution (ExecuTorch pull "
        "requests 17568 and 17794: ResNet-50 14.2 -> 6.8 ms); tiles of 1x4 stay in registers on "
        "G310 and G610, larger ones spill (panvk 26.2.6)"
    ),
    launch_us=6.0,
    macs_per_us=60_000.0,
    bytes_per_us=12_000.0,
    dot_speedup=3.0,
    algorithm_factor={
        "direct": 2.6,
        "direct_rows": 1.3,
        "implicit_gemm": 2.6,  # shared memory is ordinary memory here
        "depthwise": 0.5,
        "depthwise_rows": 0.4,
        "depthwise_dot": 1.0,
    },
    layout_factor={
        ("im2col", "4C1W"): 1.15,
        ("im2col", "4W4C"): 1.1,
        ("pointwise", "4C1W"): 1.15,
        ("pointwise", "4C"): 1.05,
        ("depthwise", "4C"): 1.05,
        ("depthwise", "4W4C"): 1.05,
        ("depthwise_rows", "4C"): 1.05,
        ("depthwise_rows", "4W4C"): 1.05,
        ("depthwise_dot", "4C"): 1.05,
        ("depthwise_dot", "4W4C"): 1.05,
    },
    tile_factor={
        (1, 4): 1.0,
        (2, 4): 1.5,
        (4, 2): 2.2,
        (2, 2): 1.3,
        (8, 2): 3.0,
        (2, 1): 1.0,
        (4, 1): 1.05,
        (7, 1): 2.0,
    },
)

_ADRENO = CostTable(
    source=(
        "direct with 4C1W on Adreno for grouped and for shallow, wide convolutions, im2col for "
        "deep ones (the rule of ExecuTorch's pull request 17794); 2x4 tiles keep half of A660's "
        "waves, 4x2 fewer, with as many issue slots a product; in float, a round of the 4x2 tile "
        "takes 415 issue slots of A618 for 677 in integers (turnip 26.2.6)"
    ),
    launch_us=6.0,
    macs_per_us=80_000.0,
    bytes_per_us=14_000.0,
    gather_factor=3.0,
    dot_speedup=4.0,
    form_speedup={Dot.FLOAT: 1.6},
    algorithm_factor={
        "direct": 1.2,
        "implicit_gemm": 1.4,  # fewer issue slots than direct, but two barriers a chunk
        "depthwise": 0.5,
        "depthwise_rows": 0.4,
        "depthwise_dot": 0.8,
    },
    layout_factor={
        ("direct", "4C"): 1.3,
        ("direct", "4W4C"): 1.1,
        ("implicit_gemm", "4C"): 1.1,
        ("implicit_gemm", "4W4C"): 1.05,
        ("depthwise", "4C"): 1.3,
        ("depthwise", "4W4C"): 1.1,
        ("depthwise_rows", "4C"): 1.3,
        ("depthwise_rows", "4W4C"): 1.1,
        ("depthwise_dot", "4C"): 1.3,
        ("depthwise_dot", "4W4C"): 1.1,
        ("pointwise", "4C"): 1.2,
        ("im2col", "4C1W"): 1.05,
        ("im2col", "4W4C"): 1.05,
    },
    tile_factor={
        (4, 2): 1.03,
        (2, 2): 1.2,
        (2, 4): 1.0,
        (8, 2): 1.1,
        (1, 4): 1.2,
        (2, 1): 1.1,
        (7, 1): 1.1,
    },
)

_NVIDIA = CostTable(
    source="lanes over pixels read 4C1W coalesced; rates of benchmarks/conv2d.py on an H200",
    launch_us=3.0,
    macs_per_us=3_000_000.0,
    bytes_per_us=2_000_000.0,
    dot_speedup=3.0,
    algorithm_factor={
        "direct": 1.1,
        "implicit_gemm": 1.3,
        "depthwise": 0.19,
        "depthwise_rows": 0.07,
        "depthwise_dot": 0.16,
        "rows": 10.0,  # a long K in one invocation
        "coopmat": 0.04,
        "coopmat_window": 0.034,
    },
    layout_factor={
        (algorithm, layout): factor
        for algorithm in ("direct", "im2col", "pointwise")
        for layout, factor in (("4C", 1.3), ("4W4C", 1.15))
    }
    | {
        ("depthwise_rows", "4C"): 20.0,
        ("depthwise_rows", "4W4C"): 5.0,
        ("workgroup_sum", "4C"): 8.0,  # neighbouring lanes read distant words
    },
    tile_factor={
        (4, 2): 1.0,
        (2, 2): 1.2,
        (2, 4): 1.0,
        (8, 2): 1.0,
        (1, 4): 1.1,
        (7, 1): 1.4,
        (4, 1): 1.0,
        (2, 1): 1.9,
        (1, 1): 2.0,
        (256, 32): 1.0,  # from here on cooperative matrices
        (128, 32): 1.0,
        (128, 16): 1.35,
        (64, 16): 1.6,
        (32, 16): 2.3,
    },
)

_SOFTWARE = CostTable(
    source="as lavapipe, 150 to 200 times slower (SwiftShader from Chromium 142, 2 cores)",
    launch_us=50.0,
    macs_per_us=170.0,
    bytes_per_us=100.0,
    form_speedup=_LAVAPIPE.form_speedup,
    algorithm_factor=_LAVAPIPE.algorithm_factor,
    tile_factor=_LAVAPIPE.tile_factor,
)

_TABLES = {
    Family.LAVAPIPE: _LAVAPIPE,
    Family.SWIFTSHADER: _SOFTWARE,
    Family.MALI: _MALI,
    Family.ADRENO: _ADRENO,
    Family.NVIDIA: _NVIDIA,
}


def table_of(gpu: GpuInfo) -> CostTable:
    """The table of a GPU: its family's, else one by what kind of device it is."""
    if gpu.family in _TABLES:
        return _TABLES[gpu.family]
    if gpu.is_software:
        return _SOFTWARE
    return _ADRENO if gpu.unified_memory else _NVIDIA


class Costs:
    """Prices on one GPU: measured times where there are any, else the family's table."""

    def __init__(self, gpu: GpuInfo, measured: Mapping[tuple[str, str], float] | None = None):
        """`measured`: microseconds by (node_key, candidate_key)."""
        self.gpu = gpu
        self._estimate = _Estimate(gpu)
        self._measured = measured or {}
        self._nodes = {node for node, _ in self._measured}

    def prices_us(self, node: BoundNode, candidates: Sequence[Candidate]) -> list[float]:
        """Microseconds of each candidate for a node.

        What was not measured of a node that was takes the table's price, scaled to the
        measurements of the others.
        """
        table = [self._estimate.us(candidate) for candidate in candidates]
        if not self._nodes or (key := node_key(node)) not in self._nodes:
            return table
        times = [self._measured.get((key, candidate_key(candidate))) for candidate in candidates]
        ratios = [t / price for t, price in zip(times, table, strict=True) if t is not None]
        if not ratios:
            return table
        scale = statistics.median(ratios)
        return [
            price * scale if time is None else time
            for time, price in zip(times, table, strict=True)
        ]

    def is_measured(self, node: BoundNode) -> bool:
        """Whether anything of such a node has been measured."""
        return bool(self._nodes) and node_key(node) in self._nodes

    def price_us(self, node: BoundNode, candidate: Candidate) -> float:
        """Microseconds of one candidate."""
        return self.prices_us(node, [candidate])[0]


def node_key(node: BoundNode) -> str:
    """Text that is the same for nodes that cost the same: operator, fields, types, constants."""
    constants = ",".join(f"{role}{list(a.shape)}" for role, a in sorted(node.constants.items()))
    types = ",".join(str(tensor) for tensor in (*node.inputs, *node.outputs))
    return f"{node.op.kind}({types};{_fields(node.op)};{constants})"


def _fields(op: Operator) -> dict[str, object]:
    """Fields of an operator, and of those that it holds, without scales: they cost nothing."""
    return {
        name: _fields(value) if isinstance(value, Operator) else value
        for name, value in vars(op).items()
        if not isinstance(value, Quantization) and name != "affine"
    }


def graph_key(graph: Graph) -> str:
    """Text that is the same for graphs of the same nodes in the same order."""
    keys = "\n".join(node_key(node) for node in graph.bound_nodes())
    return hashlib.sha256(keys.encode()).hexdigest()


def candidate_key(candidate: Candidate) -> str:
    """Text that names a candidate among those of its node."""
    return f"{candidate.label} @{candidate.tile[0]}x{candidate.tile[1]}"


def cost_us(candidate: Candidate, gpu: GpuInfo) -> float:
    """Estimated microseconds of a candidate on a GPU, by its family's table."""
    return _Estimate(gpu).us(candidate)


class _Estimate:
    """A GPU's table, looked up once for the tens of thousands of candidates of a network."""

    def __init__(self, gpu: GpuInfo) -> None:
        self._table = table = table_of(gpu)
        self._busy_invocations = gpu.busy_invocations
        self._rates = {dot: table.macs_per_us * _form_speedup(table, dot, gpu) for dot in Dot}

    def us(self, candidate: Candidate) -> float:
        """Estimated microseconds."""
        table, work = self._table, candidate.work
        algorithm = candidate.algorithm.removesuffix("_split")  # computes as the whole does
        arithmetic = work.macs / self._rates[candidate.dot] if work.macs else 0.0
        if arithmetic:
            under_way = max(1, work.invocations * work.depth)
            arithmetic *= max(1.0, self._busy_invocations / under_way)
            arithmetic *= table.algorithm_factor.get(algorithm, 1.0)
            arithmetic *= table.tile_factor.get(candidate.tile, 1.0)
            for layout in candidate.input_layouts:
                arithmetic *= table.layout_factor.get((algorithm, layout), 1.0)
        traffic = float(work.bytes_read + work.bytes_written)
        if work.scratch_bytes:
            factor = table.gather_factor if algorithm == "im2col" else 1.0
            traffic += factor * scratch_traffic(candidate)
        return work.dispatches * table.launch_us + arithmetic + traffic / table.bytes_per_us


def _form_speedup(table: CostTable, dot: Dot, gpu: GpuInfo) -> float:
    """Against plain arithmetic; a form that the device does not accelerate is emulated, slower."""
    if dot in table.form_speedup:
        return table.form_speedup[dot]
    if dot is Dot.PLAIN:
        return 1.0
    return table.dot_speedup if dot is gpu.dot else 0.8


def scratch_traffic(candidate: Candidate) -> int:
    """Bytes that go through scratch: every chunk is written once and read once."""
    chunks = max(1, candidate.work.dispatches // 2)
    return 2 * candidate.work.scratch_bytes * chunks
