"""Model: a plan on a device, recorded once, called many times. `load` makes one."""

from __future__ import annotations

import dataclasses
import logging
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vkbackend import fileformat
from vkbackend.costs import Costs, graph_key
from vkbackend.device import Device, transfers
from vkbackend.device.selftest import exactness
from vkbackend.engine import RING_DEPTH, Engine
from vkbackend.errors import (
    DeviceError,
    FormatError,
    GraphError,
    InputError,
    KernelError,
    ResolveError,
)
from vkbackend.gpu import GpuInfo, captured
from vkbackend.graph import Array, Graph, Shape
from vkbackend.plan import Plan, Value
from vkbackend.resolve import resolve
from vkbackend.signature import Signature, from_host_shape
from vkbackend.streaming import stream
from vkbackend.tuning import Tuning
from vkbackend.weights import WeightStore

KEPT_SHAPES = 4
Replan = Callable[[Graph], Plan]
log = logging.getLogger("vkbackend")


def load(
    network: str | Path | Graph,
    *,
    device: Device | int | str | None = None,
    gpu: GpuInfo | str | None = None,
    policy: str = "auto",
    force: str | Sequence[str] | None = None,
    tuned: bool = True,
    validation: bool | None = None,
    keep_all: bool = False,
    guard_bytes: int = 0,
) -> Model:
    """A network (.vkb file or Graph) resolved for a device, uploaded and recorded.

    `device` is an index, a part of a name, or an open Device; None takes the best. `gpu` runs the
    plan of another GPU here, where the limits allow. Times that `vkbackend tune` has measured on
    this device count, unless `tuned` is False. Raises VkBackendError's children.
    """
    graph = network if isinstance(network, Graph) else fileformat.read(network)
    owned = not isinstance(device, Device)
    opened = device if isinstance(device, Device) else Device.open(device, validation=validation)
    excluded: dict[tuple[str, str], KernelError] = {}

    def plan_for(graph: Graph) -> Plan:
        return resolve(
            graph,
            opened.info if gpu is None else runnable_here(gpu, opened.info),
            costs=_measured_costs(graph, opened) if tuned and gpu is None else None,
            policy=policy,
            force=force,
            keep_all=keep_all,
            guard_bytes=guard_bytes,
            excluded=excluded,
        )

    try:
        _warn_if_inexact(opened)
        model = _first_that_compiles(graph, plan_for, excluded, opened, owned)
    except BaseException:
        if owned:
            opened.close()
        raise
    opened.save_pipeline_cache()
    return model


def runnable_here(gpu: GpuInfo | str, here: GpuInfo) -> GpuInfo:
    """Another GPU's facts, less the instructions that this device does not have."""
    facts = gpu if isinstance(gpu, GpuInfo) else captured(gpu)
    matrices = set(facts.cooperative_matrices) & set(here.cooperative_matrices)
    return dataclasses.replace(
        facts,
        dot_product=facts.dot_product and here.dot_product,
        cooperative_matrices=tuple(m for m in facts.cooperative_matrices if m in matrices),
    )


def _measured_costs(graph: Graph, device: Device) -> Costs | None:
    """What tuning has measured here, unless it was found not to help this network."""
    tuning = Tuning()
    try:
        times = tuning.times_us(device.identity)
        helps = bool(times) and tuning.helps(device.identity, graph_key(graph))
    except FormatError as error:
        warnings.warn(f"{error}; going on without it", RuntimeWarning, stacklevel=5)
        return None
    return Costs(device.info, times) if helps else None


def _first_that_compiles(
    graph: Graph,
    plan_for: Replan,
    excluded: dict[tuple[str, str], KernelError],
    device: Device,
    owned: bool,
) -> Model:
    """A model whose every kernel the driver takes: drivers of phones fail at single ones."""
    failure: KernelError | None = None
    while True:
        try:
            plan = plan_for(graph)
        except ResolveError:
            if excluded:
                raise list(excluded.values())[-1] from None
            raise
        if failure is not None:
            warnings.warn(f"{failure}: taking the next best way", RuntimeWarning, stacklevel=4)
        try:
            return Model(plan, device, replan=plan_for, owns_device=owned)
        except KernelError as error:
            excluded[error.node, error.algorithm] = failure = error


def _warn_if_inexact(device: Device) -> None:
    verdict = exactness(device)
    if not verdict.exact:
        warnings.warn(
            f"{device.info.name} does not compute exactly, results may differ from other devices: "
            + "; ".join(verdict.failures),
            RuntimeWarning,
            stacklevel=3,
        )


class Model:
    """A network on a device: call it with NumPy arrays.

    Several threads may call it; calls are serialised. Inputs of another shape than declared make
    another plan where the network allows it, with the same weights; the latest few are kept. A
    context manager; also cleans up when collected.
    """

    def __init__(
        self, plan: Plan, device: Device, *, replan: Replan | None = None, owns_device: bool = False
    ) -> None:
        self.plan = plan
        self.device = device
        self._replan = replan
        self._owns_device = owns_device
        self._lock = threading.RLock()
        self._given_back = threading.Condition(self._lock)
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        self._weights = WeightStore(device)
        self._users: dict[Engine, int] = {}
        self._engines = OrderedDict({_shapes(plan.graph): Engine(plan, device, self._weights)})

    @property
    def signature(self) -> Signature:
        """Names, dtypes and shapes that the network declares."""
        return Signature.of(self.plan.graph)

    def __call__(self, *inputs: Array, **named: Array) -> Any:
        """Runs the network. One array per input, by position or name, of exactly the declared
        dtype and axis order; one array back, or a dict by name where there are several outputs.

        Raises InputError on what the network cannot take, DeviceError where the device fails.
        """
        engine, arrays = self._borrow(inputs, named)
        try:
            return self._named(engine.run(arrays))
        finally:
            self._give_back(engine)

    def submit(self, *inputs: Array, **named: Array) -> Future[Any]:
        """As a call, but returns at once: the input has been copied and may be changed.

        Up to three calls are in flight; a fourth waits until one is done.
        """
        engine, arrays = self._borrow(inputs, named)
        try:
            with self._lock:
                if self._executor is None:
                    self._executor = ThreadPoolExecutor(1, "vkbackend")
            future = engine.submit(arrays, self._executor)
        except BaseException:
            self._give_back(engine)
            raise
        future.add_done_callback(lambda _: self._give_back(engine))
        return _mapped(future, self._named)

    def map(self, batches: Iterable[Array | Sequence[Array]]) -> Iterator[Any]:
        """The results for many inputs, in order, while later ones are on their way: an array each,
        or a sequence of arrays where the network has several inputs.

        Takes three inputs ahead of the result that is wanted next, and no more until it is taken.
        An array may be changed when the next is asked for. An error comes after the results of the
        inputs before it.
        """
        large_bytes = transfers.PART_BYTES  # less takes longer to hand over than to copy
        return stream(batches, self.submit, ahead=RING_DEPTH, large_bytes=large_bytes)

    def _named(self, arrays: list[Array]) -> Any:
        names = self.plan.graph.outputs
        return arrays[0] if len(names) == 1 else dict(zip(names, arrays, strict=True))

    def _borrow(
        self, inputs: Sequence[Array], named: dict[str, Array]
    ) -> tuple[Engine, list[Array]]:
        """The engine for these inputs, which stays until it is given back."""
        self._require_open()
        arrays = self.signature.arrange(inputs, named, any_shape=self._replan is not None)
        ports = self.signature.inputs.values()
        shapes = tuple(
            from_host_shape(array.shape, port.axes)
            for array, port in zip(arrays, ports, strict=True)
        )
        with self._lock:
            self._require_open()  # it may have been closed meanwhile
            if shapes not in self._engines:
                self._engines[shapes] = self._new_engine(shapes, arrays)
                self._drop_oldest()
            self._engines.move_to_end(shapes)
            engine = self._engines[shapes]
            self._users[engine] = self._users.get(engine, 0) + 1
            return engine, arrays

    def _require_open(self) -> None:
        if self._closed:
            raise DeviceError("this model is closed: load it again")

    def _give_back(self, engine: Engine) -> None:
        with self._given_back:
            self._users[engine] -= 1
            self._given_back.notify_all()

    def _drop_oldest(self) -> None:
        idle = [s for s, engine in self._engines.items() if not self._users.get(engine)]
        for shapes in idle[:-1][: max(0, len(self._engines) - KEPT_SHAPES)]:
            engine = self._engines.pop(shapes)
            self._users.pop(engine, None)
            engine.close()

    def _new_engine(self, shapes: tuple[Shape, ...], arrays: Sequence[Array]) -> Engine:
        assert self._replan is not None
        declared = self.plan.origin
        try:
            graph = declared.with_shapes(dict(zip(declared.inputs, shapes, strict=True)))
        except GraphError as error:
            found = ", ".join(f"{a.dtype}[{', '.join(map(str, a.shape))}]" for a in arrays)
            wanted = ", ".join(f"{n}: {port}" for n, port in self.signature.inputs.items())
            raise InputError(
                f"the network takes {wanted}, and cannot take {found}: {error}"
            ) from None
        # A warning, for it takes as long as loading does: Python shows it unless told otherwise.
        named = ", ".join(f"{n} {list(s)}" for n, s in zip(declared.inputs, shapes, strict=True))
        log.warning("new input shape, %s: making a plan for it", named)
        return Engine(self._replan(graph), self.device, self._weights)

    # -- looking inside --------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The plan that ran last: its arena and weights (for tests and tools)."""
        return next(reversed(self._engines.values()))

    def profile(
        self, inputs: Sequence[Array], runs: int = 30, *, per_step: bool = True
    ) -> list[list[float]] | None:
        """GPU microseconds of every step, or of all together, for each run: [runs][steps].

        None without timestamps.
        """
        engine, arrays = self._borrow(inputs, {})
        try:
            return engine.profile(arrays, runs, per_step=per_step)
        finally:
            self._give_back(engine)

    def read(self, value: Value) -> Array:
        """A tensor of the last call in NCHW order; needs a plan resolved with keep_all.

        Raises InputError for a value that the plan does not place.
        """
        return self.engine.read(value)

    @property
    def device_memory_bytes(self) -> int:
        """Bytes of weights, activations and scratch on the device."""
        arenas = [engine.arena for engine in self._engines.values()]
        return sum(buffer.size_bytes for buffer in (*arenas, *self._weights.buffers))

    # -- ending ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Waits for calls in flight and frees everything; a second call does nothing."""
        with self._given_back:
            if self._closed:
                return
            self._closed = True
            self._given_back.wait_for(lambda: not any(self._users.values()))
        if self._executor is not None:
            self._executor.shutdown(wait=True)
        for engine in self._engines.values():
            engine.close()
        if self._owns_device:
            self.device.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _shapes(graph: Graph) -> tuple[Shape, ...]:
    return tuple(tensor.shape for tensor in graph.inputs.values())


def _mapped(future: Future[list[Array]], change: Callable[[list[Array]], Any]) -> Future[Any]:
    """A future of the changed result."""
    result: Future[Any] = Future()

    def finish(done: Future[list[Array]]) -> None:
        error = done.exception()
        if error is None:
            result.set_result(change(done.result()))
        else:
            result.set_exception(error)

    result.set_running_or_notify_cancel()
    future.add_done_callback(finish)
    return result
