"""LiteRT's reference interpreter: what TensorFlow Lite networks are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from vkbackend.graph import Array


@dataclass(frozen=True)
class Run:
    """The network's outputs in order, and every tensor by its name in the file."""

    outputs: list[Array]
    tensors: dict[str, Array]


def run(content: bytes, inputs: Sequence[Array]) -> Run:
    """Runs a .tflite file; skips the test where LiteRT is not installed."""
    interpreters = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="ai-edge-litert is not installed"
    )
    interpreter = interpreters.Interpreter(
        model_content=content,
        experimental_op_resolver_type=interpreters.OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    tensors = {
        detail["name"]: interpreter.get_tensor(detail["index"])
        for detail in interpreter.get_tensor_details()
        if detail["name"]
    }
    return Run(outputs, tensors)
