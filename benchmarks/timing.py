"""The ways to compute one node on a device: each run, compared with NumPy, and timed in turn."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np

from vkbackend import shaders
from vkbackend.device import Buffer, Commands, Device, Region
from vkbackend.graph import Array, BoundNode
from vkbackend.layouts import pack, size_bytes, unpack
from vkbackend.ops.base import Candidate, Ref

CLOCKS = ("gpu", "wait", "cpu")


class WrongResultError(Exception):
    """A kernel gave other bits than NumPy: its time would mean nothing."""


@dataclass
class Times:
    """Samples in microseconds: between two timestamps on the GPU, from submit to wait, and the
    processor time of all threads meanwhile: a software device's own work, whatever else runs.
    """

    clock: str = "gpu"  # the one that median_us and quartiles_us are of
    gpu_us: list[float] = field(default_factory=list)
    wait_us: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    @property
    def samples_us(self) -> list[float]:
        """By the chosen clock; from submit to wait where the device cannot tell time."""
        samples = {"gpu": self.gpu_us, "wait": self.wait_us, "cpu": self.cpu_us}
        return samples[self.clock] or self.wait_us

    @property
    def median_us(self) -> float:
        """The middle sample."""
        return float(np.median(self.samples_us))

    @property
    def quartiles_us(self) -> tuple[float, float]:
        """Half of the samples lie between these."""
        low, high = np.percentile(self.samples_us, (25, 75))
        return float(low), float(high)


@dataclass
class Variant:
    """A candidate's dispatches between two timestamps, and their samples."""

    candidate: Candidate
    commands: Commands
    output: Region
    times: Times

    def sample(self) -> None:
        """Runs once and keeps the times."""
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        self.commands.run()
        self.times.wait_us.append((time.perf_counter() - begin_s) * 1e6)
        self.times.cpu_us.append((time.process_time() - begin_cpu_s) * 1e6)
        stamps = self.commands.timestamps_us()
        if stamps is not None:
            self.times.gpu_us.append(stamps[1] - stamps[0])


class Workbench:
    """A device, one node, its input and its expected output; a context manager."""

    def __init__(self, device: Device, node: BoundNode, x: Array, clock: str = "gpu") -> None:
        self.device = device
        self.clock = clock
        self.node = node
        self._x = x
        (self._expected,) = node.op.reference(node, [x])
        self._buffers: list[Buffer] = []
        self._variants: list[Variant] = []
        self._inputs: dict[str, Region] = {}
        self._weights: dict[object, Mapping[str, Region]] = {}
        self._scratch: Region | None = None

    # -- memory, shared between variants wherever it can be --------------------------------------

    def _new_region(self, size: int) -> Region:
        buffer = self.device.buffer(size, access="device")
        self._buffers.append(buffer)
        return buffer.region()

    def _upload(self, array: Array) -> Region:
        region = self._new_region(array.nbytes)
        self.device.write(region.buffer, array)
        return region

    def _input(self, layout: str) -> Region:
        if layout not in self._inputs:
            offset = self.node.inputs[0].quantized.storage_offset
            stored = (self._x.astype(np.int32) + offset).astype(np.int8)
            whole = np.zeros(size_bytes(layout, stored.shape), np.int8)
            packed = pack(stored, layout)
            whole[: packed.size] = packed
            self._inputs[layout] = self._upload(whole)
        return self._inputs[layout]

    def _packed_weights(self, candidate: Candidate) -> Mapping[str, Region]:
        key = candidate.algorithm, candidate.dot, candidate.tile  # layouts do not matter
        if key not in self._weights:
            packed = self.node.op.pack_weights(self.node, candidate)
            self._weights[key] = {role: self._upload(array) for role, array in packed.items()}
        return self._weights[key]

    def _scratch_of(self, size: int, offset: int) -> Region:
        if self._scratch is None or self._scratch.size_bytes < size:
            self._scratch = self._new_region(size)
        return Region(self._scratch.buffer, offset, size - offset)

    def _region(self, ref: Ref, candidate: Candidate, output: Region) -> Region:
        match ref.kind:
            case "input":
                return self._input(candidate.input_layouts[ref.index])
            case "weights":
                return self._packed_weights(candidate)[ref.role]
            case "scratch":
                return self._scratch_of(candidate.work.scratch_bytes, ref.offset_bytes)
        return output

    # -- variants --------------------------------------------------------------------------------

    def add(self, candidate: Candidate) -> Variant:
        """Records a candidate, runs it once (drivers compile then) and compares its result.

        Raises WrongResultError.
        """
        output = self._new_region(size_bytes(candidate.output_layout, self.node.outputs[0].shape))
        commands = self.device.commands()
        commands.timestamp()
        for dispatch in self.node.op.lower(self.node, candidate):
            pipeline = self.device.pipeline(
                shaders.load(dispatch.shader),
                dispatch.constants,
                subgroup_size=dispatch.subgroup_size,
            )
            bindings = {
                name: self._region(ref, candidate, output)
                for name, ref in dispatch.bindings.items()
            }
            commands.dispatch(pipeline, bindings, dispatch.push, dispatch.workgroups)
        commands.timestamp()
        variant = Variant(candidate, commands, output, Times(self.clock))
        self._variants.append(variant)
        commands.run()
        self._compare(variant)
        return variant

    def _compare(self, variant: Variant) -> None:
        y = self.node.outputs[0]
        raw = self.device.read(variant.output.buffer, variant.output.size_bytes)
        stored = unpack(raw.view(np.int8), variant.candidate.output_layout, y.shape)
        values = stored.astype(np.int32) - y.quantized.storage_offset
        wrong = int(np.count_nonzero(values != self._expected))
        if wrong:
            raise WrongResultError(
                f"{variant.candidate.label} with tile {variant.candidate.tile} differs from NumPy "
                f"in {wrong} of {values.size} values"
            )

    def close(self) -> None:
        """Frees everything."""
        for variant in self._variants:
            variant.commands.close()
        for buffer in self._buffers:
            buffer.close()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def sample_in_turn(variants: Sequence[Variant], rounds: int) -> None:
    """A B C A B C ...: a machine whose speed drifts treats them alike."""
    for _ in range(rounds):
        for variant in variants:
            variant.sample()
