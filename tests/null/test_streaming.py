"""Streams of batches through a model that is none: no GPU needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from vkbackend.graph import Array
from vkbackend.streaming import stream

AHEAD = 3


class Calls:
    """Doubles what is submitted, when it is told to; notes who submits."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.futures: list[tuple[Future[int], int]] = []
        self.at_once = True

    def submit(self, x: Array) -> Future[int]:
        self.threads.append(threading.current_thread().name)
        future: Future[int] = Future()
        self.futures.append((future, 2 * int(x[0])))
        if self.at_once:
            self.finish()
        return future

    def finish(self) -> None:
        """The latest first."""
        while self.futures:
            future, result = self.futures.pop()
            if result < 0:
                future.set_exception(ValueError(f"negative: {result}"))
            else:
                future.set_result(result)


def batches(*values: int) -> Iterator[Array]:
    for value in values:
        yield np.array([value])


def test_results_come_in_the_order_of_the_batches() -> None:
    calls = Calls()
    calls.at_once = False
    results = stream(batches(*range(9)), calls.submit, ahead=AHEAD, large_bytes=1 << 20)
    timer = threading.Timer(0.05, calls.finish)
    timer.start()
    assert next(results) == 0
    timer.join()
    calls.finish()
    calls.at_once = True
    assert list(results) == list(range(2, 18, 2))


@pytest.mark.parametrize(("large_bytes", "by_thread"), [(8, True), (9, False)])
def test_large_batches_are_copied_by_a_thread(large_bytes: int, by_thread: bool) -> None:
    calls = Calls()
    wanted = [2, 4, 6, 8, 10]
    results = stream(batches(1, 2, 3, 4, 5), calls.submit, ahead=AHEAD, large_bytes=large_bytes)
    assert list(results) == wanted
    assert {name.startswith("vkbackend-map") for name in calls.threads} == {by_thread}
    assert not any(thread.name.startswith("vkbackend-map") for thread in threading.enumerate())


@pytest.mark.parametrize("large_bytes", [1, 1 << 20])
@pytest.mark.parametrize("position", range(6))
def test_an_error_of_a_call_comes_in_its_turn(large_bytes: int, position: int) -> None:
    values = list(range(6))
    values[position] = -1
    results = stream(batches(*values), Calls().submit, ahead=AHEAD, large_bytes=large_bytes)
    assert [next(results) for _ in range(position)] == list(range(0, 2 * position, 2))
    with pytest.raises(ValueError, match="negative: -2"):
        next(results)


@pytest.mark.parametrize("count", range(6))
def test_an_error_of_the_source_comes_last(count: int) -> None:
    def source() -> Iterator[Array]:
        yield from batches(*range(count))
        raise OSError("the disk is gone")

    results = stream(source(), Calls().submit, ahead=AHEAD, large_bytes=1)
    assert [next(results) for _ in range(count)] == list(range(0, 2 * count, 2))
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_the_source_is_asked_for_no_more_than_is_needed() -> None:
    taken = []

    def source() -> Iterator[Array]:
        for value in range(10):
            taken.append(value)
            yield np.array([value])

    results = stream(source(), Calls().submit, ahead=AHEAD, large_bytes=1)
    for number in range(5):
        assert next(results) == 2 * number
        assert len(taken) == number + 1 + AHEAD
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 5 + AHEAD


def test_closing_waits_for_calls_in_flight() -> None:
    with ThreadPoolExecutor(1) as executor:
        gate, ended = threading.Event(), []

        def work(value: int) -> int:
            if value:
                gate.wait(10)
            ended.append(value)
            return value

        def submit(x: Array) -> Future[int]:
            return executor.submit(work, int(x[0]))

        results = stream(batches(0, 1, 2, 3, 4), submit, ahead=AHEAD, large_bytes=1)
        assert next(results) == 0
        threading.Timer(0.05, gate.set).start()
        results.close()  # type: ignore[attr-defined]
        assert ended == [0, 1, 2, 3]
