"""layout.glsl and layouts.py say the same of every layout, for awkward shapes."""

from __future__ import annotations

import numpy as np
import pytest

from vkbackend import shaders
from vkbackend.device import Device, Region
from vkbackend.layouts import LAYOUTS, Dims, address

SHAPES: list[Dims] = [
    (1, 1, 1, 1),
    (2, 5, 3, 7),
    (1, 4, 4, 4),
    (3, 9, 1, 2),
    (1, 13, 6, 5),
    (2, 3, 11, 1),
    (1, 17, 2, 9),
]


@pytest.mark.parametrize("dims", SHAPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_addresses_are_the_same_in_glsl(layout: str, dims: Dims, device: Device) -> None:
    count = int(np.prod(dims))
    pipeline = device.pipeline(shaders.load("layout_probe"), {"LAYOUT": LAYOUTS[layout].code})
    push = dict(zip(("batch", "channels", "height", "width"), dims, strict=True))
    with (
        device.buffer(4 * count, access="download") as addresses,
        device.buffer(4 * count, access="download") as elements,
        device.commands() as commands,
    ):
        bindings = {
            "Addresses": Region(addresses, 0, 4 * count),
            "Elements": Region(elements, 0, 4 * count),
        }
        commands.dispatch(pipeline, bindings, push, (-(-count // 64), 1, 1))
        commands.end()
        commands.run()
        found = device.read(addresses, 4 * count).view(np.int32)
        inverse = device.read(elements, 4 * count).view(np.int32)
    expected = address(layout, dims, tuple(np.indices(dims))).reshape(-1)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(inverse, np.arange(count))
    assert len(np.unique(expected)) == count
