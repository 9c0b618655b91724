"""mean: the mean over height and width by TensorFlow Lite's rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.graph import Array, Quantization, Shape, TensorType
from vkbackend.ops.global_average_pool import GlobalAveragePool
from vkbackend.quant.tflite import mean_parameters


@dataclass(frozen=True)
class Mean(GlobalAveragePool):
    """As global_average_pool, but 1 / (h * w) goes into the integer multiplier, rounded down."""

    kind: ClassVar[str] = "mean"

    requantize: str = "fixed"

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """One pixel per channel; GraphError on another mode than `fixed`."""
        if self.requantize != "fixed":
            raise GraphError(f"requantize is fixed here, got {self.requantize!r}")
        return super().infer(inputs, constants)

    def _parameters(self, x: Quantization, shape: Shape) -> Array:
        return mean_parameters(x.scale, self.output.scale, int(np.prod(shape[2:])))
