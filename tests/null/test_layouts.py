"""Packed layouts: closed forms, round trips, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vkbackend.errors import GraphError
from vkbackend.layouts import LAYOUTS, Dims, address, dims_of, pack, size_bytes, unpack

DIMS = st.tuples(*(st.integers(1, size) for size in (3, 9, 6, 9)))


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=30, deadline=None)
@given(dims=DIMS, seed=st.integers(0, 9))
def test_pack_puts_each_element_at_its_address(layout: str, dims: Dims, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-128, 128, dims).astype(np.int8)
    storage = pack(values, layout)
    assert storage.size == LAYOUTS[layout].element_count(dims)
    at = address(layout, dims, tuple(np.indices(dims)))
    np.testing.assert_array_equal(storage[at], values)
    assert np.count_nonzero(storage) == np.count_nonzero(values)
    np.testing.assert_array_equal(unpack(storage, layout, dims), values)


def test_closed_forms() -> None:
    """The addresses as ExecuTorch's delegate has them, written out."""
    dims = (2, 11, 5, 7)
    n, c, h, w = np.indices(dims)
    _, channels, height, width = dims
    c4, w4, h4 = -(-channels // 4), -(-width // 4), -(-height // 4)
    expected = {
        "4W4C": ((((n * height + h) * w4 + w // 4) * c4 + c // 4) * 16) + (w % 4) * 4 + c % 4,
        "4H4W": ((((n * channels + c) * h4 + h // 4) * w4 + w // 4) * 16) + (h % 4) * 4 + w % 4,
        "4W": ((((n * channels + c) * height + h) * w4 + w // 4) * 4) + w % 4,
        "4C": ((((n * height + h) * width + w) * c4 + c // 4) * 4) + c % 4,
        "4C1W": ((((n * height + h) * c4 + c // 4) * width + w) * 4) + c % 4,
        "NCHW": ((n * channels + c) * height + h) * width + w,
        "NHWC": ((n * height + h) * width + w) * channels + c,
    }
    assert expected.keys() == LAYOUTS.keys()
    for layout, addresses in expected.items():
        np.testing.assert_array_equal(address(layout, dims, (n, c, h, w)), addresses)


def test_sizes_are_rounded_for_vec4_reads() -> None:
    assert size_bytes("4C", (1, 1, 1, 1)) == 16
    assert size_bytes("4W4C", (1, 5, 2, 5)) == 2 * 8 * 8
    assert size_bytes("NCHW", (1, 3, 3), item_bytes=4) == 48


def test_lower_ranks_have_dimensions_of_their_own() -> None:
    assert dims_of((2, 7)) == (2, 7, 1, 1)
    assert dims_of((2, 7, 9)) == (2, 7, 1, 9)
    assert dims_of((7,)) == (1, 7, 1, 1)
    assert dims_of(()) == (1, 1, 1, 1)
    with pytest.raises(GraphError, match=r"at most 4 dimensions here, got shape \(1, 2, 3, 4, 5\)"):
        dims_of((1, 2, 3, 4, 5))
