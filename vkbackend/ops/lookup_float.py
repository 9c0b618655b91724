"""lookup_float: any function of one int8 value as float32 in plain order: a table of 256 floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vkbackend.errors import GraphError
from vkbackend.graph import Array, BoundNode, TensorType
from vkbackend.ops.base import Candidate
from vkbackend.ops.dequantize import Dequantize


@dataclass(frozen=True)
class LookupFloat(Dequantize):
    """y = table[x - least value of x's type]; `function` names it for people.

    Constant: table, 256 float32 values. As dequantize, with a table of the frontend's own.
    """

    kind: ClassVar[str] = "lookup_float"
    constant_roles: ClassVar[tuple[str, ...]] = ("table",)

    function: str

    def infer(
        self, inputs: Sequence[TensorType], constants: Mapping[str, Array]
    ) -> Sequence[TensorType]:
        """float32 of the input's shape; GraphError on a wrong table."""
        table = constants["table"]
        if table.shape != (256,) or table.dtype != np.float32:
            raise GraphError(f"table is float32[256], got {table.dtype}{list(table.shape)}")
        return super().infer(inputs, constants)

    def reference(self, node: BoundNode, inputs: Sequence[Array]) -> Sequence[Array]:
        """Indexing."""
        least = node.inputs[0].quantized.range[0]
        return [node.constants["table"][inputs[0].astype(np.int32) - least]]

    def pack_weights(self, node: BoundNode, choice: Candidate) -> Mapping[str, Array]:
        """The table as it is: in order of storage too, for either type."""
        return {"table": node.constants["table"]}
