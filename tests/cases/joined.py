"""A case of which the output is a part of a joined tensor."""

from __future__ import annotations

from tests.cases.case import Case
from vkbackend.graph import Graph, GraphBuilder, TensorType
from vkbackend.ops import Rearrange


def joined_case(case: Case) -> Graph:
    """The case's output behind eight channels of another part."""
    (made,) = case.op.infer(case.inputs, case.constants)
    shape = made.shape
    builder = GraphBuilder()
    names = [f"x{at}" for at in range(len(case.inputs))]
    for name, tensor in zip(names, case.inputs, strict=True):
        builder.input(name, tensor)
    builder.input("before", TensorType((shape[0], 8, *shape[2:]), made.quantization))
    builder.add("node", case.op, names, "part", case.constants)
    builder.add("concat", Rearrange(((), ()), "concat", 1), ["before", "part"], "y")
    return builder.build(["y"])
