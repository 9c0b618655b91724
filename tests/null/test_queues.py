"""Which queues are taken on devices of several kinds: no GPU needed."""

from __future__ import annotations

import pytest

from vkbackend.device.queues import QueueFamily, QueuePlace, QueuePlaces, choose

ALL, COPY = 0b1111, 0b1100  # graphics, compute, transfer, sparse; transfer, sparse
VIDEO, OPTICAL_FLOW, DATA_GRAPH = 0x20, 0x100, 0x400

# NVIDIA's as a driver 580 lists them on an H200.
NVIDIA = (
    QueueFamily(ALL, 16, 64),
    QueueFamily(COPY, 2, 64),
    QueueFamily(ALL - 1, 8, 64),
    QueueFamily(COPY | VIDEO, 7, 32),
    QueueFamily(COPY | OPTICAL_FLOW, 1, 64),
)
AMD = (QueueFamily(ALL, 1, 64), QueueFamily(ALL - 1, 4, 64))


@pytest.mark.parametrize(
    ("families", "compute", "upload", "download"),
    [
        (NVIDIA, (0, 0), (1, 0), (1, 1)),
        (AMD, (0, 0), (1, 0), (1, 1)),  # another family that computes copies as well
        ((*AMD, QueueFamily(COPY, 1, 64)), (0, 0), (2, 0), (1, 0)),
        ((QueueFamily(ALL, 1, 64), QueueFamily(COPY, 1, 64)), (0, 0), (1, 0), (0, 0)),
        ((QueueFamily(7, 3, 48),), (0, 0), (0, 1), (0, 2)),
        ((QueueFamily(7, 2, 48),), (0, 0), (0, 1), (0, 0)),
        ((QueueFamily(7, 1, 64),), (0, 0), (0, 0), (0, 0)),  # lavapipe, SwiftShader
        ((QueueFamily(3, 1), QueueFamily(6, 1), QueueFamily(6, 1, 36)), (2, 0), (1, 0), (0, 0)),
        ((QueueFamily(7 | DATA_GRAPH, 2, 64), QueueFamily(COPY | VIDEO, 1)), *[(0, 0)] * 3),
    ],
)
def test_queues_that_only_copy_are_best(
    families: tuple[QueueFamily, ...],
    compute: tuple[int, int],
    upload: tuple[int, int],
    download: tuple[int, int],
) -> None:
    places = choose(families)
    assert places == QueuePlaces(QueuePlace(*compute), QueuePlace(*upload), QueuePlace(*download))


def test_no_queue_that_computes() -> None:
    assert choose([]) is None
    assert choose([QueueFamily(5, 1), QueueFamily(COPY, 2), QueueFamily(ALL, 0)]) is None


def test_as_many_queues_are_asked_for_as_are_used() -> None:
    places = choose(NVIDIA)
    assert places is not None
    assert places.queue_counts() == {0: 1, 1: 2}
    assert places.alone().queue_counts() == {0: 1}
    crowded = choose([QueueFamily(7, 3)])
    assert crowded is not None
    assert crowded.queue_counts() == {0: 3}
