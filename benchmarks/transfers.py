"""What bounds a model that is fed from the host: copies by the CPU, and by the GPU's queues.

python benchmarks/transfers.py [--device NAME] [--megabytes 19] [--staged]

Rates in 10^9 bytes a second, medians. `host` copies NumPy arrays into or out of each type of mapped
memory, by several threads; `queue` copies between that memory and the device's own. Model.map
takes the queues "upload" and "download" at once; kernels run on "compute".
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.report import table
from vkbackend.device import Buffer, Commands, Device, transfers
from vkbackend.device.memory_types import (
    DEVICE_LOCAL,
    HOST_CACHED,
    HOST_COHERENT,
    HOST_VISIBLE,
    MemoryTypes,
)
from vkbackend.device.queues import QueueUse
from vkbackend.errors import VkBackendError

THREADS = (1, 2, 4, 8)
MINIMUM_RUNS = 5
MEASURING_S = 0.3
FLAGS = {
    DEVICE_LOCAL: "device",
    HOST_VISIBLE: "visible",
    HOST_COHERENT: "coherent",
    HOST_CACHED: "cached",
}


def measure(device: Device, size_bytes: int) -> list[tuple[str, ...]]:
    """One line for every host-visible type of memory."""
    threads = [f"{count} thread{'s' if count > 1 else ''}" for count in THREADS]
    rows = [("memory", "way", *threads, "copying queue", "compute queue")]
    types = device._context.physical.memory_types
    for index, (flags, _) in enumerate(types.types):
        if flags & HOST_VISIBLE and not flags & ~sum(FLAGS):
            name = f"{index}: {' '.join(word for bit, word in FLAGS.items() if flags & bit)}"
            with only_type(device, index):
                host = device.buffer(size_bytes, access="upload")
            own = device.buffer(size_bytes, access="device", staged=True, shared=True)
            with host, own:
                for use in ("upload", "download"):
                    rates = [*host_rates(device, host, use), *queue_rates(device, host, own, use)]
                    rows.append((name, use, *(f"{rate:.1f}" for rate in rates)))
    return rows


@contextmanager
def only_type(device: Device, index: int) -> Iterator[None]:
    """As if the device had no other type of memory."""
    context = device._context
    physical = context.physical
    types = tuple(
        (flags if number == index else 0, heap)
        for number, (flags, heap) in enumerate(physical.memory_types.types)
    )
    context.physical = dataclasses.replace(physical, memory_types=MemoryTypes(types))
    try:
        yield
    finally:
        context.physical = physical


def host_rates(device: Device, host: Buffer, use: QueueUse) -> list[float]:
    """Copies by so many threads as Model.map would make them."""
    array = np.random.default_rng(0).integers(0, 256, host.size_bytes, np.uint8)
    target, source = (host.view(), array) if use == "upload" else (array, host.view())
    rates, usual = [], transfers.THREADS
    for count in THREADS:
        transfers.THREADS = count
        copier = transfers.Transfers(device._context)
        copy = functools.partial(copier.copy, target, source)
        rates.append(host.size_bytes / _median_s(copy) / 1e9)
        copier.close()
    transfers.THREADS = usual
    return rates


def queue_rates(device: Device, host: Buffer, own: Buffer, use: QueueUse) -> list[float]:
    """Copies by the queue for that use, and by the one that computes."""
    rates = []
    for queue in (use, "compute"):
        with _copying(device, host, own, use, queue) as commands:
            rates.append(host.size_bytes / _median_s(commands.run) / 1e9)
    return rates


def duplex(device: Device, size_bytes: int) -> float:
    """Uploading and downloading at once, both together."""
    with ExitStack() as stack:
        both = []
        for use in ("upload", "download"):
            host = stack.enter_context(device.buffer(size_bytes, access=use))
            own = device.buffer(size_bytes, access="device", staged=True, shared=True)
            stack.enter_context(own)
            both.append(stack.enter_context(_copying(device, host, own, use, use)))

        def run() -> None:
            for commands in both:
                commands.submit()
            for commands in both:
                commands.wait()

        return 2 * size_bytes / _median_s(run) / 1e9


def _copying(device: Device, host: Buffer, own: Buffer, use: QueueUse, queue: QueueUse) -> Commands:
    commands = device.commands(queue)
    ends = (host, own) if use == "upload" else (own, host)
    commands.copy(ends[0].region(), ends[1].region())
    return commands


def _median_s(call: Callable[[], object]) -> float:
    times = []
    call()
    end_s = time.perf_counter() + MEASURING_S
    while len(times) < MINIMUM_RUNS or time.perf_counter() < end_s:
        begin_s = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin_s)
    return statistics.median(times)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; 1 on an error, which it prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", help="index or part of a name (default: the best)")
    parser.add_argument("--megabytes", type=int, default=19, help="size of a copy (default: 19)")
    parser.add_argument("--staged", action="store_true", help="copy where it is not needed, too")
    options = parser.parse_args(arguments)
    size_bytes = options.megabytes * 1_000_000
    try:
        with Device.open(options.device, staged=options.staged) as device:
            places = device._context.queues
            named = ", ".join(f"{use}: family {queue.family}" for use, queue in places.items())
            print(f"{device.info.name} ({device.info.driver_info}); queues: {named}")
            print(table(measure(device, size_bytes), "<<" + ">" * 6))
            print(f"up and down at once: {duplex(device, size_bytes):.1f} together")
            print(f"Model.map copies by {transfers.THREADS} threads")
    except VkBackendError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
