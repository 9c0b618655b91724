"""A convolution and what follows it."""

from __future__ import annotations

from collections.abc import Sequence

from vkbackend.graph import Node
from vkbackend.ops.binary import Binary
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.conv2d_fused import Conv2dFused
from vkbackend.ops.lookup import Lookup
from vkbackend.rewrite.editor import Editor


def fuse_followers(editor: Editor) -> None:
    """A function of one value or of two joins the convolution before it. Proof: the kernel
    requantises as before and applies the follower's own arithmetic, or its table, to that very
    int8 value; nobody else reads the value in between.
    """
    producers, uses = editor.producers(), editor.uses()
    for node in editor.nodes:
        for position in _positions(editor, node):
            conv = producers.get(node.inputs[position])
            if conv is None or not isinstance(conv.op, Conv2d) or uses[conv.outputs[0]] != 1:
                continue
            together = _together(conv, node, position)
            if editor.fuse((conv, node), together, guest=node, host=conv):
                break


def _positions(editor: Editor, node: Node) -> Sequence[int]:
    """Inputs of a follower that a convolution may make, the latest made first."""
    if editor.is_kept(node):
        return ()
    if isinstance(node.op, Lookup):
        return (0,)
    bound = editor.bind(node)
    same = len({tensor.shape for tensor in (*bound.inputs, *bound.outputs)}) == 1
    if not isinstance(node.op, Binary) or not same:
        return ()
    return sorted((0, 1), key=lambda at: editor.position_of(node.inputs[at]), reverse=True)


def _together(conv: Node, node: Node, position: int) -> Node:
    assert isinstance(conv.op, Conv2d)
    assert isinstance(node.op, Binary | Lookup)
    others = [name for at, name in enumerate(node.inputs) if at != position]
    op = Conv2dFused(conv.op, node.op, position)
    constants = {**conv.constants, "table": node.constants["table"]}
    return Node(conv.name, op, (conv.inputs[0], *others), node.outputs, constants)
