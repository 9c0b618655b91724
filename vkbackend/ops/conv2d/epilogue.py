"""What may follow requantisation in a convolution's kernel: the twin of include/epilogue.glsl."""

from __future__ import annotations

from vkbackend.ops.base import Ref, output_ref, weights_ref

# Values of the constant EPILOGUE; without it nothing follows.
SUM = 1
PRODUCT = 2
PAIRS = 3
TABLE = 4

# Push constants of kernels without a sum.
NO_SUM: dict[str, int | float] = {
    "sum_a_offset": 0,
    "sum_b_offset": 0,
    "sum_output_storage_offset": 0,
    "sum_a_scale": 0.0,
    "sum_b_scale": 0.0,
    "sum_offset": 0.0,
}


def output_bindings() -> dict[str, Ref]:
    """What every kernel that stores outputs binds; the last two are read by epilogues only."""
    channels = weights_ref("channels")
    return {"Output": output_ref(), "Channels": channels, "Other": channels, "Table": channels}
