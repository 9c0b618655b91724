"""`vkbackend explain`: two plans side by side, and a plan as Graphviz text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import vkbackend as vkb
from tests.null.networks import Builder, Q, residual
from vkbackend import cli
from vkbackend.commands.plan_diff import Side, diff_json, diff_text, differing
from vkbackend.commands.plan_dot import COLOURS, dot_text
from vkbackend.gpu import captured
from vkbackend.graph import Graph, TensorType
from vkbackend.ops.relayout import Relayout


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Convolutions of every kind, with additions."""
    return residual()


@pytest.fixture
def network(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The graph as a file of the current folder."""
    monkeypatch.chdir(tmp_path)
    vkb.save(graph, "net.vkb")
    return "net.vkb"


def test_why_tells_what_a_reader_needs_to_judge(
    network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", network, "--gpu", "mali_g610", "--why"]) == 0
    title, source, dot, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("plan for Mali-G610 MC4 (mali), policy auto: ")
    assert source.startswith("costs: estimates for mali: im2col with 4C beats direct on Mali")
    assert dot == "int8 dot product of this GPU: signed"
    head = "block0.pointwise: conv2d+add pointwise/signed "
    (start,) = (at for at, line in enumerate(lines) if line.startswith(head))
    cost, work, fused, layouts, *_ = lines[start + 1 :]
    assert re.match(r"  \d+\.\d us: ", cost)
    assert work == "  one kernel, 24 KiB read and written, 0.26 million products in tiles of 1x4"
    assert re.fullmatch(
        r"  block0\.add is computed in the kernel of block0\.pointwise: "
        r"\d+\.\d us together, \d+\.\d apart",
        fused,
    )
    assert re.match(r"  not pointwise/signed .+: \d+\.\d us: ", layouts)


# -- --diff ---------------------------------------------------------------------------------------


def test_a_plan_does_not_differ_from_itself(graph: Graph) -> None:
    plan = vkb.resolve(graph, "mali_g610")
    assert differing(plan, plan) == []
    count = len(plan.graph.nodes)
    relayouts = sum(step.is_relayout for step in plan.steps)
    assert diff_text(Side("a", plan), Side("b", plan), why=True) == (
        "plans for Mali-G610 MC4, policy auto\n"
        f"0 of {count} nodes differ; relayouts: {relayouts} against {relayouts}; "
        f"estimated: {plan.cost_us:.1f} us against {plan.cost_us:.1f} us"
    )


def test_only_lines_that_differ_are_told(graph: Graph) -> None:
    plans = [
        vkb.resolve(graph, "mali_g610", force=f"conv2d:{algorithm}:4C:4C")
        for algorithm in ("*", "direct")
    ]
    first, second = (
        {step.node.name: step.choice.candidate.label for step in plan.steps} for plan in plans
    )
    expected = [name for name in first if name in second and first[name] != second[name]]
    lines = [line for line in differing(*plans) if not line.is_relayout]
    assert [line.name for line in lines] == expected != []
    assert [line.texts for line in lines] == [(first[name], second[name]) for name in expected]


def test_relayouts_are_lines_of_their_own(graph: Graph) -> None:
    # Made in one layout, and taken in another.
    forced = ("stem:direct:4C:4C", "block0.grouped:direct:4C1W:4C1W")
    bent = vkb.resolve(graph, "adreno_750", force=forced)
    straight = vkb.resolve(graph, "adreno_750", force="conv2d:*:4C1W:4C1W")
    (line,) = (each for each in differing(bent, straight) if each.name == "stem.y")
    assert (line.operator, line.texts) == (Relayout.kind, ("4C->4C1W", "-"))
    printed = diff_text(Side("bent", bent), Side("straight", straight), why=False)
    assert re.search(r"^  stem\.y +relayout +4C->4C1W +-$", printed, re.MULTILINE)


def test_gpus_side_by_side(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", network, "--diff", "mali_g610", "adreno_750"]) == 0
    title, header, *lines, count = capsys.readouterr().out.splitlines()
    assert title == "plans for Mali-G610 MC4 and Turnip Adreno (TM) 750, policy auto"
    assert header.split() == ["node", "operator", "mali_g610", "adreno_750"]
    assert any(re.match(r"stem +conv2d +\w+/signed .+  +\w+/mixed ", line) for line in lines)
    # What two GPUs are estimated to take cannot be compared.
    assert re.fullmatch(r"\d+ of 12 nodes differ; relayouts: \d+ against \d+", count)


def test_policies_side_by_side(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["explain", network, "--diff", "executorch", "auto", "--gpu", "mali_g610"]
    assert cli.main([*command, "--why"]) == 0
    title, header, *lines, count = capsys.readouterr().out.splitlines()
    assert title == "plans for Mali-G610 MC4, policy executorch and auto"
    assert header.split() == ["node", "operator", "executorch", "auto"]
    reasons = [line for line in lines if line.startswith("    ")]
    assert reasons
    assert all(re.match(r"    (executorch|auto): \d+\.\d us: ", line) for line in reasons)
    assert "; estimated: " in count


def test_a_file_on_one_side_and_json(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.json").write_text(json.dumps(captured("mali_g52").to_json()))
    command = ["explain", network, "--policy", "executorch", "--diff", "mine.json", "mali_g610"]
    assert cli.main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [side["name"] for side in facts["sides"]] == ["mine.json", "mali_g610"]
    assert [side["policy"] for side in facts["sides"]] == ["executorch"] * 2
    assert facts["nodes"] == 14
    for line in facts["differences"]:
        assert len(set(line["choices"])) == 2


def test_json_tells_what_the_text_tells(graph: Graph) -> None:
    sides = [Side(name, vkb.resolve(graph, name)) for name in ("mali_g610", "nvidia_h200")]
    told = [line["name"] for line in diff_json(*sides)["differences"]]
    assert told == [line.name for line in differing(*(side.plan for side in sides))]


def test_wrong_sides(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", network, "--diff", "auto", "mali"]) == 1
    assert cli.main(["explain", network, "--diff", "mali", "auto"]) == 1
    assert "error: no captured GPU 'mali': give a .json file or" in capsys.readouterr().err
    assert cli.main(["explain", network, "--diff", "auto", "executorch", "--dot"]) == 1
    message = "vkbackend: error: --dot draws one plan: leave out --diff\n"
    assert capsys.readouterr().err == message


# -- --dot ----------------------------------------------------------------------------------------


def test_a_plan_as_graphviz_text(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["explain", network, "--gpu", "adreno_750", "--dot"]
    assert cli.main([*command, "--force", "stem:direct:4C:4C"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("digraph plan {", "}")
    text = "\n".join(lines)
    plan = vkb.resolve(residual(), "adreno_750", force="stem:direct:4C:4C")
    for step in plan.steps:
        if not step.is_relayout:
            name, label = step.node.name, step.choice.candidate.label
            assert f'label="{name}\\n{step.node.op.title}: {label}\\n' in text
    diamonds = [line for line in lines if 'shape="diamond"' in line]
    assert len(diamonds) == sum(step.is_relayout for step in plan.steps) > 0
    legend = text.partition("subgraph cluster_legend {")[2]
    used = {value.layout for step in plan.steps for value in (*step.inputs, *step.outputs)}
    assert set(re.findall(r"legend_(\w+) \[label=\"\1\", fillcolor", legend)) == used
    assert all(COLOURS[layout] in legend for layout in used)


def test_every_edge_begins_where_its_tensor_is_made(graph: Graph) -> None:
    plan = vkb.resolve(graph, "mali_g610")
    text = dot_text(plan)
    names = set(re.findall(r"^  (\w+) \[label", text, re.MULTILINE))
    edges = re.findall(r"^  (\w+) -> (\w+) \[color=\"(#\w+)\"", text, re.MULTILINE)
    assert {name for edge in edges for name in edge[:2]} == names
    assert len(edges) == sum(len({*step.inputs}) for step in plan.steps) + len(plan.outputs)
    colours = {
        f"step{index}": COLOURS[step.outputs[0].layout] for index, step in enumerate(plan.steps)
    }
    assert all(colours.get(source, drawn) == drawn for source, _, drawn in edges)


def test_names_are_quoted() -> None:
    builder = Builder()
    builder.input('a "b"\\c', TensorType((1, 4, 8, 8), Q))
    builder.conv('say "hi"\\n', 'a "b"\\c', 4)
    text = dot_text(vkb.resolve(builder.build(['say "hi"\\n.y']), "mali_g610"))
    assert r'label="say \"hi\"\\n\nconv2d: ' in text
    assert r'label="a \"b\"\\c\nuint8[1, 4, 8, 8] NCHW"' in text
    strings = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert '"' not in strings
