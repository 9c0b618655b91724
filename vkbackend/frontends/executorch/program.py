"""The .pte file: execution plan, segments and named data; every delegate of it is unfolded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vkbackend.errors import FormatError, InputError
from vkbackend.frontends.executorch.delegate import Delegate, is_delegate, read_delegate
from vkbackend.frontends.executorch.evalues import Constants, read_values
from vkbackend.frontends.executorch.flat import Blob, Table
from vkbackend.frontends.executorch.records import (
    Bind,
    Call,
    Ids,
    Members,
    Place,
    Program,
    Space,
    Step,
    Tensor,
)
from vkbackend.frontends.executorch.segments import NAMED_DATA, SEGMENT, NamedData, Segments

IDENTIFIER = b"ET12"
HEADER_MAGIC = b"eh00"
BACKEND = "VulkanBackend"
FOREIGN = "delegate "  # how the name of a call of another backend's delegate begins

PROGRAM = (
    "version",
    "execution_plan",
    "constant_buffer",
    "backend_delegate_data",
    "segments",
    "constant_segment",
    "mutable_data_segments",
    "named_data",
)
PLAN = (
    "name",
    "container_meta_type",
    "values",
    "inputs",
    "outputs",
    "chains",
    "operators",
    "delegates",
)
CHAIN = ("inputs", "outputs", "instructions")
INSTRUCTION = ("instr_args_type", "instr_args")
OPERATOR = ("name", "overload")
DELEGATE = ("id", "processed")
REFERENCE = ("location", "index")
INLINE_DATA = ("data",)


def read(blob: Blob, files: Sequence[Path], method: str | None) -> Program:
    """A .pte file or a delegate's blob. Raises FormatError, InputError on an unknown method."""
    if is_delegate(blob.data):
        return _of_delegate(blob, files)
    root = blob.root(PROGRAM, IDENTIFIER)
    version = root.number("version", "Uint32")
    if version != 0:
        raise root.wrong("version", f"is {version}, this vkbackend reads version 0")
    segments = Segments(blob, root.tables("segments", SEGMENT), _segment_base(blob))
    named = NamedData(segments.named(root.tables("named_data", NAMED_DATA)), files)
    plan = _plan(blob, root, method)
    return _Reader(root, plan, segments, named).program(blob.name)


def _of_delegate(blob: Blob, files: Sequence[Path]) -> Program:
    delegate = read_delegate(blob, NamedData({}, files))
    space = Space("chain", "v", delegate.values)
    return Program(
        blob.name,
        tuple(Place(space, number) for number in delegate.inputs),
        tuple(Place(space, number) for number in delegate.outputs),
        tuple(delegate.calls(space)),
    )


def _segment_base(blob: Blob) -> int:
    """Where segments begin, as the extended header says; files without segments have none."""
    if bytes(blob.data[8:12]) != HEADER_MAGIC:
        return 0
    length = blob.number("Uint32", 12, "extended header length")
    if length < 24:
        raise FormatError(f"{blob.name}: extended header length is {length}, below 24: damaged")
    return int(blob.number("Uint64", 24, "segment base offset"))


def _plan(blob: Blob, root: Table, method: str | None) -> Table:
    plans = {table.text("name"): table for table in root.tables("execution_plan", PLAN)}
    if not plans:
        raise root.wrong("execution_plan", "is empty: the program has no method")
    if method is None:
        method = "forward" if "forward" in plans else next(iter(plans))
    if method not in plans:
        raise InputError(f"{blob.name} has no method {method!r}; it has {', '.join(plans)}")
    return plans[method]


class _Reader:
    """One execution plan on its way into records."""

    def __init__(self, root: Table, plan: Table, segments: Segments, named: NamedData) -> None:
        self._root = root
        self._plan = plan
        self._segments = segments
        self._named = named
        self._delegates: dict[int, Delegate | str] = {}
        values = read_values(plan, Constants(root, segments, named))
        self._count = len(values)
        self._space = Space("instruction", "p", values)
        self._steps: list[Step] = []
        self._calls = 0

    def program(self, source: str) -> Program:
        """The whole plan."""
        chains = self._plan.tables("chains", CHAIN)
        instructions = [t for chain in chains for t in chain.tables("instructions", INSTRUCTION)]
        several = sum(t.number("instr_args_type", "Uint8") == 2 for t in instructions) > 1
        for index, table in enumerate(instructions):
            self._instruction(index, table, several)
        return Program(
            source,
            tuple(Place(self._space, n) for n in self._ids(self._plan, "inputs")),
            tuple(Place(self._space, n) for n in self._ids(self._plan, "outputs")),
            tuple(self._steps),
        )

    def _ids(self, table: Table, field: str) -> Ids:
        ids = table.integers(field, "int32")
        for position, number in enumerate(ids):
            if not 0 <= number < self._count:
                raise FormatError(
                    f"{table.blob.name}: {table.where(field, position)} is {number}, "
                    f"{self._count} values exist"
                )
        return ids

    # -- instructions ----------------------------------------------------------------------------

    def _instruction(self, index: int, table: Table, several: bool) -> None:
        kind = table.number("instr_args_type", "Uint8")
        if kind == 5:  # frees memory
            return
        fields = {1: ("op_index", "args"), 2: ("delegate_index", "args")}
        fields |= {3: ("move_from", "move_to"), 4: ("cond_value_index", "destination_instruction")}
        if kind not in fields:
            raise table.wrong("instr_args_type", f"is {kind}, of no known type")
        inner = table.table("instr_args", fields[kind])
        if inner is None:
            raise table.wrong("instr_args", "is missing")
        if kind == 1:
            self._kernel(index, inner)
        elif kind == 2:
            self._delegate_call(index, inner, several)
        elif kind == 3:
            ends = [inner.number(field, "Int32") for field in fields[3]]
            source, target = (self._place(inner, number) for number in ends)
            self._steps.append(Bind(source, target))
        else:
            self._steps.append(Call(self._space, index, "control flow", (), ()))

    def _place(self, table: Table, number: int) -> Place:
        if not 0 <= number < self._count:
            raise table.wrong("move_from", f"or move_to is {number}, {self._count} values exist")
        return Place(self._space, number)

    def _kernel(self, index: int, table: Table) -> None:
        operators = self._plan.tables("operators", OPERATOR)
        number = table.number("op_index", "Int32")
        if not 0 <= number < len(operators):
            raise table.wrong("op_index", f"is {number}, {len(operators)} operators exist")
        name, overload = operators[number].text("name"), operators[number].text("overload")
        arguments, outputs = self._without_results(self._ids(table, "args"))
        op = f"{name}.{overload}" if overload else name
        self._steps.append(Call(self._space, index, op, arguments, outputs))

    def _without_results(self, ids: Ids) -> tuple[Ids, Ids]:
        """Arguments and outputs. A kernel is given its outputs, then what it returns: the same."""
        last = self._space.values[ids[-1]] if ids else None
        if isinstance(last, Members) and last.ids == ids[-1 - len(last.ids) : -1]:
            return ids[: -1 - len(last.ids)], last.ids
        for count in range(len(ids) // 2, 0, -1):
            if ids[-count:] == ids[-2 * count : -count]:
                return ids[: -2 * count], ids[-count:]
        return ids[:-1], ids[-1:]

    # -- delegates -------------------------------------------------------------------------------

    def _delegate_call(self, index: int, table: Table, several: bool) -> None:
        number = table.number("delegate_index", "Int32")
        delegate = self._delegate(table, number)
        arguments = self._ids(table, "args")
        if isinstance(delegate, str):
            self._steps.append(Call(self._space, index, f"{FOREIGN}{delegate}", arguments, ()))
            return
        wanted = len(delegate.inputs) + len(delegate.outputs)
        if len(arguments) != wanted:
            raise table.wrong("args", f"are {len(arguments)}, delegate {number} takes {wanted}")
        prefix = f"d{self._calls}.v" if several else "v"
        where = f"delegate {self._calls} chain" if several else "chain"
        self._calls += 1
        space = Space(where, prefix, delegate.values)
        outside = [Place(self._space, argument) for argument in arguments]
        inside = [Place(space, value) for value in (*delegate.inputs, *delegate.outputs)]
        pairs = list(zip(outside, inside, strict=True))
        for position, (outer, inner) in enumerate(pairs):
            self._verify_pair(table, position, outer, inner)
        given = len(delegate.inputs)
        self._steps += [Bind(outer, inner) for outer, inner in pairs[:given]]
        self._steps += delegate.calls(space)
        self._steps += [Bind(inner, outer) for outer, inner in pairs[given:]]

    def _verify_pair(self, table: Table, position: int, outer: Place, inner: Place) -> None:
        """Raises FormatError where program and delegate disagree about a tensor."""
        ends = (outer.space.values[outer.id], inner.space.values[inner.id])
        shapes = [end.shape for end in ends if isinstance(end, Tensor)]
        if len(shapes) == 2 and shapes[0] != shapes[1]:
            raise FormatError(
                f"{table.blob.name}: {table.where('args', position)} has shape "
                f"{list(shapes[0])}, the delegate's value {inner.id} {list(shapes[1])}"
            )

    def _delegate(self, call: Table, number: int) -> Delegate | str:
        """A delegate, or the name of its backend where that is another one."""
        if number in self._delegates:
            return self._delegates[number]
        tables = self._plan.tables("delegates", DELEGATE)
        if not 0 <= number < len(tables):
            raise call.wrong("delegate_index", f"is {number}, {len(tables)} delegates exist")
        table = tables[number]
        backend = table.text("id")
        if backend != BACKEND:
            self._delegates[number] = backend
            return backend
        reference = table.table("processed", REFERENCE)
        if reference is None:
            raise table.wrong("processed", "is missing")
        self._delegates[number] = read_delegate(self._processed(reference), self._named)
        return self._delegates[number]

    def _processed(self, reference: Table) -> Blob:
        index = int(reference.number("index", "Uint32"))
        if reference.number("location", "Int8") == 1:
            return self._segments.read(index, reference, "index")
        inline = self._root.tables("backend_delegate_data", INLINE_DATA)
        if index >= len(inline):
            raise reference.wrong("index", f"is {index}, {len(inline)} blobs exist")
        return inline[index].data("data")
