"""linear: a fully connected layer. It is a pointwise convolution over an image of one pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import Dot, GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, TensorType
from vkbackend.ops.base import (
    LOCAL_SIZE,
    Candidate,
    Dispatch,
    Grid,
    Operator,
    Options,
    ceil_div,
    input_ref,
    output_ref,
    weights_ref,
)
from vkbackend.ops.conv2d import Conv2d, coopmat, pointwise
from vkbackend.ops.conv2d.enumerate import enumerate_candidates, integer_forms
from vkbackend.ops.conv2d.geometry import Geometry

ROW_TILE = (1, 1)
LANES_OVER_OUTPUTS = "rows"
LANES_SHARE_K = "rows_together"


@dataclass(frozen=True)
class Linear(Operator):
    """y = requantize(bias + sum((x - x_zero_point) * (w - weight_zero_point))).

    Constants as conv2d's, with weight int8 [oc, ic]; x is (n, ic), y (n, oc).
    """

    kind: ClassVar[str] = "linear"
    constant_roles: ClassVar[tuple[str, ...]] = Conv2d.constant_roles

    output: Quantization
    clamp: tuple[int, int] | None = None
    requantize: str = "float"

    def _convolution(self) -> Conv2d:
        return Conv2d(self.output, clamp=self.clamp, requantize=self.requantize)

    def _as_image(self, node: BoundNode) -> BoundNode:
        """The same node as a convolution: (n, c) -> (n, c, 1, 1)."""
        x, y = node.inputs[0], node.outputs[0]
        weight = node.constants["weight"]
        return BoundNode(
            node.name,
            self._convolution(),
            node.input_names,
            node.output_names,
            (TensorType((*x.shape, 1, 1), x.quantization),),
            (TensorType((*y.shape, 1, 1), y.quantization),),
            {**node.constants, "weight": weight.reshape(*weight.shape, 1, 1)},
        )

    def _geometry(self, node: BoundNode) -> Geometry:
        return self._convolution().geometry(self._as_image(node))

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """(n, oc); GraphError where shapes, types or quantisation cannot be."""
        shape, weight = inputs[0].shape, constants["weight"]
        if len(shape) != 2:
            raise GraphError(f"the input has shape (n, channels), got {list(shape)}")
        if weight.dtype != np.int8 or weight.ndim != 2:
            raise GraphError(f"weight is int8 [oc, ic], got {weight.dtype} {list(weight.shape)}")
        image = TensorType((*shape, 1, 1), inputs[0].quantized)
        arrays = {**constants, "weight": weight.reshape(*weight.shape, 1, 1)}
        (result,) = self._convolution().infer([image], arrays)
        return [TensorType(result.shape[:2], self.output)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """The convolution's."""
        image = inputs[0].reshape(*inputs[0].shape, 1, 1)
        (result,) = self._convolution().reference(self._as_image(node), [image])
        return [result.reshape(node.outputs[0].shape)]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """For few rows `rows`, lanes over output channels, and `rows_together`, lanes that share
        K; and a pointwise convolution's ways.
        """
        geometry = self._geometry(node)
        kernels = [(dot, ROW_TILE) for dot in integer_forms(gpu)]
        found = [
            *(
                enumerate_candidates(name, geometry, gpu, kernels, grid=_grid(geometry, name))
                for name in (LANES_OVER_OUTPUTS, LANES_SHARE_K)
            ),
            *(module.candidates(geometry, gpu) for module in (pointwise, coopmat)),
        ]
        return Options(
            tuple(candidate for options in found for candidate in options.eligible),
            tuple(rejected for options in found for rejected in options.rejected),
        )

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """As conv2d packs them; for `rows` the words of one k lie together, channels fastest."""
        packed = dict(self._convolution().pack_weights(self._as_image(node), _tiled(choice)))
        if choice.algorithm == LANES_OVER_OUTPUTS:
            geometry = self._geometry(node)
            words = packed["weights"].reshape(geometry.out_words, -1, 4)
            packed["weights"] = np.ascontiguousarray(words.transpose(1, 0, 2)).reshape(-1)
        return packed

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, and with a split K another."""
        geometry = self._geometry(node)
        if choice.algorithm not in (LANES_OVER_OUTPUTS, LANES_SHARE_K):
            return self._convolution().lower(self._as_image(node), choice)
        constants = geometry.constants(choice)
        constants["LANES_SHARE_K"] = choice.algorithm == LANES_SHARE_K
        del constants["TILE_PIXELS"]
        return [
            Dispatch(
                f"linear_rows.{choice.dot.value}",
                {
                    "Input": input_ref(),
                    "Output": output_ref(),
                    "Weights": weights_ref("weights"),
                    "Channels": weights_ref("channels"),
                },
                _grid(geometry, choice.algorithm),
                geometry.push(),
                constants,
            )
        ]


def _grid(geometry: Geometry, algorithm: str) -> Grid:
    """A lane, or a workgroup, for four channels of a row."""
    words = geometry.out_words
    x = words if algorithm == LANES_SHARE_K else ceil_div(words, LOCAL_SIZE)
    return x, geometry.batch, 1


def _tiled(choice: Candidate) -> Candidate:
    """The convolution algorithm whose packing both kinds of rows start from."""
    if choice.algorithm not in (LANES_OVER_OUTPUTS, LANES_SHARE_K):
        return choice
    layouts = choice.input_layouts, choice.output_layout
    return Candidate("pointwise", *layouts, choice.work, Dot(choice.dot), ROW_TILE)
