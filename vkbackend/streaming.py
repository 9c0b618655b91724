"""Many inputs through one model: results in order, while later inputs are on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from vkbackend.graph import Array

Batch = Array | Sequence[Array]
Submit = Callable[..., "Future[Any]"]


def stream(
    batches: Iterable[Batch], submit: Submit, *, ahead: int, large_bytes: int
) -> Iterator[Any]:
    """The results of all batches, taking as many `ahead` of the one that is wanted next.

    `submit` copies a batch and returns a future; a thread calls it for batches that are large, so
    that copying goes on while the caller works on a result. The next batch is taken only when the
    one before is copied. An error comes after the results of the batches before it.
    """
    pending: deque[Future[Future[Any]]] = deque()
    iterator = iter(batches)
    failure: Exception | None = None
    with ThreadPoolExecutor(1, "vkbackend-map") as copier:
        try:
            while True:
                try:
                    batch = next(iterator)
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                copied = _start(batch, submit, copier, large_bytes)
                pending.append(copied)
                if len(pending) > ahead:
                    yield pending.popleft().result().result()
                wait([copied])
            while pending:
                yield pending.popleft().result().result()
        finally:
            wait([copied.result() for copied in pending if copied.exception() is None])
    if failure is not None:
        raise failure


def _start(batch: Batch, submit: Submit, copier: Executor, large_bytes: int) -> Future[Future[Any]]:
    """The batch's call in a future that is done when the batch is copied."""
    copied: Future[Future[Any]] = Future()
    try:
        arrays = (batch,) if isinstance(batch, np.ndarray) else tuple(batch)
        if sum(getattr(array, "nbytes", 0) for array in arrays) >= large_bytes:
            return copier.submit(submit, *arrays)
        copied.set_result(submit(*arrays))
    except Exception as error:
        copied.set_exception(error)
    return copied
