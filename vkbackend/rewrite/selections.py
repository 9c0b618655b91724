"""A convolution and the channels that are picked for it."""

from __future__ import annotations

from collections.abc import Mapping

from vkbackend.graph import Array, Node
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.conv2d.weights import zero_weights
from vkbackend.rewrite.copies import copy_of
from vkbackend.rewrite.editor import Editor


def fold_selections(editor: Editor) -> None:
    """A convolution reads the tensor itself, instead of channels that were picked from it (a
    shuffle, a split), with weights moved to where those lie. Proof: the products are the same but
    for weights that stand for zero, their int32 sums are exact in any order, and nobody else reads
    the picked channels.
    """
    producers, uses = editor.producers(), editor.uses()
    for conv in editor.nodes:
        if not isinstance(conv.op, Conv2d) or conv.op.groups != 1:
            continue
        move = producers.get(conv.inputs[0])
        if move is None or uses[conv.inputs[0]] != 1 or editor.is_kept(move):
            continue
        copy = copy_of(editor, move)
        channels = copy.picked_channels() if copy else None
        if copy is None or channels is None:
            continue
        weight = _spread(editor.bind(conv).constants, channels, copy.parts[0].source[1])
        name = editor.add_constant(f"{conv.name}.weight of {move.inputs[0]}", weight)
        constants = {**conv.constants, "weight": name}
        together = Node(conv.name, conv.op, move.inputs, conv.outputs, constants)
        editor.fuse((move, conv), together, guest=move, host=conv)


def _spread(constants: Mapping[str, Array], channels: Array, count: int) -> Array:
    """The weights of picked channels among those of all, the others zero."""
    weight = constants["weight"]
    wide = zero_weights(constants, (weight.shape[0], count, *weight.shape[2:]))
    wide[:, channels] = weight
    return wide
