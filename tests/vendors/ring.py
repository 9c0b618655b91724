"""Calls in flight on a GPU of several queues that is none: the inner half of a test.

Started by the Python of the drivers' root. Nothing executes, so only what the driver says counts.
Prints one JSON line: the queues' families, the objects that live, and those that are left.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tests.null.networks import residual
from vkbackend.device import Device
from vkbackend.engine import Engine
from vkbackend.resolve import resolve
from vkbackend.weights import WeightStore


def main() -> None:
    """Runs a small network twelve times over a ring of slots."""
    graph = residual()
    ((_, x),) = graph.inputs.items()
    with Device.open() as device:
        engine = Engine(resolve(graph, device.info), device, WeightStore(device))
        with ThreadPoolExecutor(1) as executor:
            futures = [engine.submit([np.zeros(x.shape, x.dtype)], executor) for _ in range(12)]
            shapes = {tuple(array.shape for array in future.result()) for future in futures}
        queues = device._context.queues
        answer = {
            "families": {use: queue.family for use, queue in queues.items()},
            "queues": len({queue.handle for queue in queues.values()}),
            "outputs": len(shapes),
            "live": device.live_objects(),
        }
        engine.close()
        answer["left"] = device.live_objects()
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
