"""binary: any function of two int8 values (add, mul ...), broadcast where one shape is smaller.

The truth is a table of 65,536 bytes that the frontend fills. Where the frontend has found an
affine form or a product and enumeration proves it equal to the table, arithmetic replaces the
look-up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.gpu import GpuInfo
from vkbackend.graph import Array, BoundNode, Quantization, Shape, TensorType
from vkbackend.layouts import CHANNEL_PACKED, LAYOUTS, dims_of, size_bytes
from vkbackend.ops.base import (
    Candidate,
    Dispatch,
    Operator,
    Options,
    Rejected,
    Work,
    input_ref,
    linear_grid,
    output_ref,
    range_problem,
    weights_ref,
)
from vkbackend.ops.lookup import same_layout_options, stored_table, verify_table
from vkbackend.quant.pair import Affine, Product, affine_table, product_table


@dataclass(frozen=True)
class Binary(Operator):
    """y = table[256 * (a - least) + (b - least)]; `function` names it (add, mul, sub).

    Constant: table, 65,536 values of the output's type. `affine` is (a_scale, b_scale, offset) of
    quant.pair.affine_table, `product` (scale, offset) of product_table: only where that form gives
    the very table. Axes of size 1 are repeated to the other input's size; ranks are equal.
    """

    kind: ClassVar[str] = "binary"
    constant_roles: ClassVar[tuple[str, ...]] = ("table",)

    output: Quantization
    function: str
    affine: tuple[float, float, float] | None = None
    product: tuple[float, float] | None = None

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """The common shape with this quantisation; GraphError where shapes or tables disagree."""
        a, b = inputs
        types = a.quantized, b.quantized, self.output
        shape = _common_shape(a, b)
        verify_table(constants["table"], 65536, self.output)
        proved = {}
        if self.affine is not None:
            proved["affine"] = affine_table(Affine(*self.affine), *types)
        if self.product is not None:
            proved["product"] = product_table(Product(*self.product), *types)
        for form, table in proved.items():
            if not np.array_equal(table, constants["table"]):
                raise GraphError(f"{form} {getattr(self, form)} does not give the table")
        return [TensorType(shape, self.output)]

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Indexing."""
        a, b = (
            values.astype(np.int32) - tensor.quantized.range[0]
            for values, tensor in zip(inputs, node.inputs, strict=True)
        )
        return [node.constants["table"][256 * a + b]]

    def candidates(self, node: BoundNode, gpu: GpuInfo) -> Options:
        """The table always; arithmetic where it is proved equal."""
        table = self._options("table", node, gpu)
        if self.affine is None and self.product is None:
            reason = "no affine form gives the bits of the table"
            return Options(table.eligible, (*table.rejected, Rejected("arithmetic", reason)))
        arithmetic = self._options("arithmetic", node, gpu)
        return Options(arithmetic.eligible + table.eligible, arithmetic.rejected + table.rejected)

    def _options(self, algorithm: str, node: BoundNode, gpu: GpuInfo) -> Options:
        """One layout for all where shapes are equal, else any for what is repeated."""
        shape = node.outputs[0].shape
        if all(tensor.shape == shape for tensor in node.inputs):
            return same_layout_options(algorithm, node, gpu)
        found, problems = [], []
        for target in CHANNEL_PACKED:
            for other in CHANNEL_PACKED:
                layouts = tuple(target if t.shape == shape else other for t in node.inputs)
                written = size_bytes(target, shape)
                problem = range_problem(written, "the tensor", gpu)
                if problem:
                    problems.append(Rejected(algorithm, problem))
                    continue
                work = Work(0, 2 * written, written, invocations=written // 4)
                found.append(Candidate(algorithm, layouts, target, work))
        return Options(tuple(found), () if found else tuple(problems[:1]))

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The table as int8 storage, for the algorithm that reads it."""
        if choice.algorithm == "arithmetic":
            return {}
        return {"table": stored_table(node.constants["table"], self.output)}

    def lower(self, node: BoundNode, choice: Candidate) -> Sequence[Dispatch]:
        """One dispatch, one invocation per word."""
        words = size_bytes(choice.output_layout, node.outputs[0].shape) // 4
        bindings = {"InputA": input_ref(0), "InputB": input_ref(1), "Output": output_ref()}
        push: dict[str, int | float] = {"word_count": words}
        if choice.algorithm == "table":
            bindings["Table"] = weights_ref("table")
        same = all(tensor.shape == node.outputs[0].shape for tensor in node.inputs)
        constants: dict[str, int | float] = {}
        if same and choice.algorithm == "table":
            shader = "binary_table"
        elif same and self.affine is not None:
            shader = "binary_arithmetic"
            push |= self.form_push(node)
        else:
            shader = f"binary_broadcast.{choice.algorithm}"
            push |= _dims_push(node)
            push |= {} if choice.algorithm == "table" else self.form_push(node)
            constants = self._layout_constants(choice, same)
        return [Dispatch(shader, bindings, linear_grid(words), push, constants)]

    def _layout_constants(self, choice: Candidate, same: bool) -> dict[str, int | float]:
        constants: dict[str, int | float] = {
            "INPUT_A_LAYOUT": LAYOUTS[choice.input_layouts[0]].code,
            "INPUT_B_LAYOUT": LAYOUTS[choice.input_layouts[1]].code,
            "OUTPUT_LAYOUT": LAYOUTS[choice.output_layout].code,
            "SAME": same,
        }
        if choice.algorithm == "arithmetic":
            constants["PRODUCT"] = self.affine is None
        return constants

    def form_push(self, node: BoundNode) -> dict[str, int | float]:
        """Push constants of the arithmetic; with `sum_` before, of epilogue.glsl."""
        a, b = (tensor.quantized for tensor in node.inputs)
        if self.affine is not None:
            offsets = a.storage_offset, b.storage_offset
            a_scale, b_scale, offset = self.affine
        else:
            assert self.product is not None
            offsets = a.stored_zero_point, b.stored_zero_point
            (a_scale, offset), b_scale = self.product, 0.0
        return {
            "a_offset": offsets[0],
            "b_offset": offsets[1],
            "output_storage_offset": self.output.storage_offset,
            "a_scale": a_scale,
            "b_scale": b_scale,
            "offset": offset,
        }


def _common_shape(a: TensorType, b: TensorType) -> Shape:
    """The larger size of each axis; GraphError where ranks or sizes do not fit."""
    fits = len(a.shape) == len(b.shape) and all(
        first == second or 1 in (first, second)
        for first, second in zip(a.shape, b.shape, strict=True)
    )
    if not fits:
        raise GraphError(f"inputs have shapes that do not fit each other, got {a} and {b}")
    return tuple(map(max, a.shape, b.shape))


def _dims_push(node: BoundNode) -> dict[str, int | float]:
    push: dict[str, int | float] = {}
    for prefix, tensor in zip("ab", node.inputs, strict=True):
        dims = zip("nchw", dims_of(tensor.shape), strict=True)
        push |= {f"{prefix}_{axis}": size for axis, size in dims}
    names = ("batch", "channels", "height", "width")
    return push | dict(zip(names, dims_of(node.outputs[0].shape), strict=True))
