"""What may follow requantisation in a convolution's kernel: the twin of include/epilogue.glsl."""

from __future__ import annotations

from vkbackend.ops.base import Ref, output_ref, weights_ref

# Values of the constant EPILOGUE; without it nothing follows.
SUM_FIRST = 1
SUM_SECOND = 2
TABLE = 3

# Push constants of kernels without a sum.
NO_SUM: dict[str, int | float] = {
    "sum_a_storage_offset": 0,
    "sum_b_storage_offset": 0,
    "sum_output_storage_offset": 0,
    "sum_low": 0,
    "sum_high": 0,
    "sum_a_scale": 0.0,
    "sum_b_scale": 0.0,
    "sum_offset": 0.0,
}


def output_bindings() -> dict[str, Ref]:
    """What every kernel that stores outputs binds; without an epilogue its buffer is not read."""
    channels = weights_ref("channels")
    return {"Output": output_ref(), "Channels": channels, "Epilogue": channels}
