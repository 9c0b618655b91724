"""Concatenations of channels whose parts are made where they belong."""

from __future__ import annotations

from collections.abc import Iterator

from vkbackend.graph import Node
from vkbackend.layouts import Dims
from vkbackend.ops.join import Join
from vkbackend.ops.strided_copy import Part, StridedCopy
from vkbackend.rewrite.copies import copy_of
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
        copy = copy_of(editor, node) if len(node.inputs) > 1 else None
        if copy is None or editor.is_kept(node):
            continue
        makers = [producers.get(name) if uses[name] == 1 else None for name in node.inputs]
        placed = tuple(_placed(editor, copy, makers))
        together = Node(node.name, Join(copy, placed), node.inputs, node.outputs)
        if placed and not editor.is_split(together):
            _place(editor, node, together, [node.inputs[at] for at in placed])


def _place(editor: Editor, node: Node, together: Node, parts: list[str]) -> None:
    """Puts the join in the concatenation's place where that costs less, and says so."""
    apart_us, together_us = editor.prices_us((node,), together)
    pays = together_us < apart_us
    verb = ("is" if len(parts) == 1 else "are") + ("" if pays else " not")
    prices = f"{together_us:.1f} us here, {apart_us:.1f} copied"
    editor.note(node, f"{' and '.join(parts)} {verb} written in place: {prices}")
    if pays:
        editor.replace((node,), together)


def _placed(editor: Editor, copy: StridedCopy, makers: list[Node | None]) -> Iterator[int]:
    """Parts that lie in whole words, and are made by a kernel that can write them there."""
    for at, (part, maker) in enumerate(zip(copy.parts, makers, strict=True)):
        if (
            maker is not None
            and maker.op.fills_slices
            and _is_slice(part, copy.dims)
            and not editor.is_split(maker)
        ):
            yield at


def _is_slice(part: Part, whole: Dims) -> bool:
    """Whether a part is a whole input, all pixels at their places, and shares no word."""
    begin, (n, channels, h, w) = part.begin, part.size
    covers = (begin[0], begin[2], begin[3], n, h, w) == (0, 0, 0, whole[0], whole[2], whole[3])
    ends_word = channels % 4 == 0 or begin[1] + channels == whole[1]
    return part.is_unmoved and covers and begin[1] % 4 == 0 and ends_word
