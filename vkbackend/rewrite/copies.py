"""What nodes that only move elements move, whichever operators they are."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from vkbackend.errors import GraphError
from vkbackend.graph import Node
from vkbackend.ops.copying import Copying
from vkbackend.ops.strided_copy import StridedCopy
from vkbackend.rewrite.editor import Editor

Item = TypeVar("Item")


def copy_of(editor: Editor, node: Node) -> StridedCopy | None:
    """The node as a strided copy of quantised tensors that fills all of its output, or None."""
    if not isinstance(node.op, Copying | StridedCopy):
        return None
    bound = editor.bind(node)
    try:
        copy = node.op.copy(bound)
    except GraphError:  # made for another batch
        return None
    return copy if isinstance(copy, StridedCopy) and copy.fill is None else None


def fold_copies(editor: Editor) -> None:
    """What is copied only to be joined is copied into the join at once. Proof: a part of a copy
    says for each element of the output which one of the input it is, and so does a part of that
    part; nobody else reads what lies in between.
    """
    producers, uses = editor.producers(), editor.uses()
    for node in editor.nodes:
        outer = copy_of(editor, node) if len(node.inputs) > 1 else None
        if outer is None or editor.is_kept(node):
            continue
        for at, name in enumerate(node.inputs):
            maker = producers.get(name)
            if maker is None or uses[name] != 1 or editor.is_kept(maker):
                continue
            inner = copy_of(editor, maker)
            if inner is None or not inner.is_one_whole_box or not outer.parts[at].is_unmoved:
                continue
            part = dataclasses.replace(inner.parts[0], begin=outer.parts[at].begin)
            op = dataclasses.replace(outer, parts=_with(outer.parts, at, part))
            inputs = _with(node.inputs, at, maker.inputs[0])
            together = Node(node.name, op, inputs, node.outputs)
            if editor.fuse((maker, node), together, guest=maker, host=node):
                node, outer = together, op


def _with(items: tuple[Item, ...], at: int, item: Item) -> tuple[Item, ...]:
    return (*items[:at], item, *items[at + 1 :])
