"""conv2d: the operator, and one module per algorithm that computes it."""

from vkbackend.ops.conv2d.operator import Conv2d

__all__ = ["Conv2d"]
