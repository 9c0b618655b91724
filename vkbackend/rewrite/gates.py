"""A function of two values of which one is a function of the other."""

from __future__ import annotations

import numpy as np

from vkbackend.graph import Node
from vkbackend.ops.binary import Binary
from vkbackend.ops.lookup import Lookup
from vkbackend.rewrite.editor import Editor


def fold_gates(editor: Editor) -> None:
    """f(x, g(x)) becomes one table (x * sigmoid(x), say). Proof: a table of 256 values is every
    function of one int8 value, and this one is filled by the two tables themselves.
    """
    producers, uses = editor.producers(), editor.uses()
    for node in editor.nodes:
        if not isinstance(node.op, Binary) or editor.is_kept(node):
            continue
        for position in (0, 1):
            gate = producers.get(node.inputs[position])
            plain = node.inputs[1 - position]
            if (
                gate is not None
                and isinstance(gate.op, Lookup)
                and gate.inputs == (plain,)
                and uses[gate.outputs[0]] == 1
                and not editor.is_kept(gate)
            ):
                editor.replace((gate, node), _folded(editor, node, gate, position))
                editor.note(node, f"{gate.name} and {node.name} are one table")
                break


def _folded(editor: Editor, node: Node, gate: Node, position: int) -> Node:
    assert isinstance(node.op, Binary)
    assert isinstance(gate.op, Lookup)
    x = np.arange(256)
    gate_table = editor.bind(gate).constants["table"]
    g = gate_table.astype(np.int32) - gate.op.output.range[0]
    first, second = (g, x) if position == 0 else (x, g)
    table = editor.bind(node).constants["table"][256 * first + second]
    name = editor.add_constant(f"{node.name}.gated", table)
    op = Lookup(node.op.output, f"{node.op.function}({gate.op.function})")
    return Node(node.name, op, gate.inputs, node.outputs, {"table": name})
