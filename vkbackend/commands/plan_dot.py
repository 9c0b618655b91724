"""A plan as Graphviz text: layouts as colours, relayouts as diamonds."""

from __future__ import annotations

from collections.abc import Iterator

from vkbackend.layouts import LAYOUTS
from vkbackend.plan import Plan, Step, Value

# Okabe and Ito's colours, which most people can tell apart; grey for the host's side.
COLOURS = {
    "4C": "#56b4e9",
    "4C1W": "#e69f00",
    "4W4C": "#009e73",
    "4W": "#f0e442",
    "4H4W": "#cc79a7",
    "NCHW": "#dddddd",
    "NHWC": "#aaaaaa",
}
assert COLOURS.keys() == LAYOUTS.keys()


def dot_text(plan: Plan) -> str:
    """The plan as a directed graph, to be drawn with `dot -Tsvg`."""
    relayouts = sum(step.is_relayout for step in plan.steps)
    title = (
        f"plan for {plan.gpu.name}, policy {plan.policy}: "
        f"{len(plan.steps) - relayouts} nodes, {relayouts} relayouts"
    )
    return "\n".join(
        [
            "digraph plan {",
            f"  label={_quoted(title)}; labelloc=t; fontname=Helvetica;",
            "  node [shape=box, style=filled, fontname=Helvetica, fontsize=10];",
            "  edge [penwidth=2];",
            *(f"  {line}" for line in _body(plan)),
            *_legend(plan),
            "}",
        ]
    )


def _body(plan: Plan) -> Iterator[str]:
    makers: dict[Value, str] = {}
    for index, value in enumerate(plan.inputs):
        makers[value] = f"input{index}"
        yield _host(makers[value], value, plan)
    for index, step in enumerate(plan.steps):
        name = f"step{index}"
        yield _relayout(name, step) if step.is_relayout else _node(name, step)
        for value in dict.fromkeys(step.inputs):
            yield _edge(makers[value], name, value)
        makers.update(dict.fromkeys(step.outputs, name))
    for index, value in enumerate(plan.outputs):
        yield _host(f"output{index}", value, plan)
        yield _edge(makers[value], f"output{index}", value)


def _host(name: str, value: Value, plan: Plan) -> str:
    """An input or output of the network."""
    label = f"{value.tensor}\n{plan.graph.types[value.tensor]} {value.layout}"
    return _statement(name, label, value.layout, shape="ellipse")


def _node(name: str, step: Step) -> str:
    candidate = step.choice.candidate
    label = f"{step.node.name}\n{step.node.op.title}: {candidate.label}\n{step.node.outputs[0]}"
    # What is an alias costs nothing: no kernel runs.
    style = {"style": "filled,dashed"} if candidate.alias else {}
    return _statement(name, label, candidate.output_layout, tooltip=step.choice.reason, **style)


def _relayout(name: str, step: Step) -> str:
    (before,), (after,) = step.inputs, step.outputs
    label = f"{before.layout} -> {after.layout}"
    tooltip = f"{before.tensor}: {step.choice.reason}"
    return _statement(name, label, after.layout, tooltip=tooltip, shape="diamond")


def _statement(name: str, label: str, layout: str, **attributes: str) -> str:
    all_of_it = {"label": label, "fillcolor": COLOURS[layout], **attributes}
    return f"{name} [{', '.join(f'{key}={_quoted(text)}' for key, text in all_of_it.items())}];"


def _edge(source: str, target: str, value: Value) -> str:
    tooltip = f"{value.tensor} in {value.layout}"
    return f'{source} -> {target} [color="{COLOURS[value.layout]}", tooltip={_quoted(tooltip)}];'


def _legend(plan: Plan) -> list[str]:
    """The layouts in use, and the shapes."""
    values = {*plan.inputs, *plan.outputs, *(v for step in plan.steps for v in step.outputs)}
    used = [layout for layout in COLOURS if any(value.layout == layout for value in values)]
    lines = [_statement(f"legend_{layout}", layout, layout) for layout in used]
    lines += [
        'legend_relayout [label="relayout", shape=diamond, fillcolor=white];',
        'legend_host [label="input, output", shape=ellipse, fillcolor=white];',
        'legend_alias [label="costs nothing", style="filled,dashed", fillcolor=white];',
    ]
    return [
        "  subgraph cluster_legend {",
        '    label="layouts";',
        *(f"    {x}" for x in lines),
        "  }",
    ]


def _quoted(text: str) -> str:
    """A double-quoted string of Graphviz; line ends stay line ends."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
