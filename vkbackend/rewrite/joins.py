"""Concatenations of channels whose parts are made where they belong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vkbackend.graph import Node
from vkbackend.ops.copying import Box
from vkbackend.ops.join import Join
from vkbackend.ops.rearrange import Rearrange
from vkbackend.ops.strides import axis_position
from vkbackend.rewrite.editor import Editor


def join_in_place(editor: Editor) -> None:
    """Kernels write parts of a concatenation into slices of it. Proof: they store the very words
    that were copied, at the addresses that they were copied to; whoever else reads a part finds it
    there, and no two parts share a word.
    """
    producers, uses = editor.producers(), editor.uses()
    for node in editor.nodes:  # those that read a part from its slice count for nothing
        if node.op.reads_slices and not editor.is_split(node):
            uses[node.inputs[0]] -= 1
    for node in editor.nodes:
        if not isinstance(node.op, Rearrange) or editor.is_kept(node):
            continue
        makers = {n: producers[n] for n in node.inputs if n in producers and uses[n] == 1}
        placed = tuple(_placed(editor, node, node.op, makers))
        if not placed:
            continue
        together = Node(node.name, Join(node.op, placed), node.inputs, node.outputs)
        if editor.is_split(together):
            continue
        apart_us, together_us = editor.prices_us((node,), together)
        pays = together_us < apart_us
        verb = ("is" if len(placed) == 1 else "are") + ("" if pays else " not")
        names = " and ".join(node.inputs[at] for at in placed)
        text = f"{names} {verb} written in place: {together_us:.1f} us here, {apart_us:.1f} copied"
        editor.note(node, text)
        if pays:
            editor.replace((node,), together)


def _placed(
    editor: Editor, node: Node, concat: Rearrange, makers: Mapping[str, Node]
) -> Iterator[int]:
    """Parts that lie in whole words, and are made by a kernel that can write them there."""
    bound = editor.bind(node)
    channels = len(bound.outputs[0].shape) > 1 and (
        axis_position(concat.axis, len(bound.outputs[0].shape)) == 1
    )
    if len(node.inputs) < 2 or not channels or bound.inputs[0].quantization is None:
        return
    boxes = concat.boxes(bound.inputs).boxes
    for at, (name, box) in enumerate(zip(node.inputs, boxes, strict=True)):
        maker = makers.get(name)
        if (
            maker is not None
            and maker.op.fills_slices
            and not concat.moves[at]
            and _is_whole_words(box, concat.axis, is_last=at == len(boxes) - 1)
            and not editor.is_split(maker)
        ):
            yield at


def _is_whole_words(box: Box, axis: int, *, is_last: bool) -> bool:
    return box.begin[axis] % 4 == 0 and (is_last or box.strides.shape[axis] % 4 == 0)
