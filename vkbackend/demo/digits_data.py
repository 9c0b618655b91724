"""The demo's scans of handwritten digits, and which of them the network never saw."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vkbackend.errors import VkBackendError

TRAIN_COUNT = 1200
"""The first 1,200 scans train and calibrate the network; the last 597 only ever measure it."""


@dataclass(frozen=True)
class Digits:
    """Scans are [count, 1, 8, 8] with whole values 0 (paper) to 16 (ink); labels are [count]."""

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]


def load() -> Digits:
    """All 1,797 scans of scikit-learn's digits in their stored order, split at TRAIN_COUNT."""
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise VkBackendError(
            f"the digits demo: its scans come with scikit-learn, which is missing ({error}): "
            'pip install "vkbackend[demo]"'
        ) from error
    bunch = datasets.load_digits()
    images = np.asarray(bunch.images, dtype=np.float32)[:, np.newaxis]
    labels = np.asarray(bunch.target, dtype=np.int64)
    return Digits(
        train_images=images[:TRAIN_COUNT],
        train_labels=labels[:TRAIN_COUNT],
        test_images=images[TRAIN_COUNT:],
        test_labels=labels[TRAIN_COUNT:],
    )
