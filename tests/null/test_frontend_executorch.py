"""Files that ExecuTorch exported: the numbers of its delegate, and the layouts that it resolves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import executorch_exports as exports
from vkbackend import fileformat, reference
from vkbackend.errors import FormatError
from vkbackend.frontends.executorch import from_executorch
from vkbackend.gpu import captured
from vkbackend.layouts import CONV2D
from vkbackend.policy_executorch import decide
from vkbackend.resolve import resolve


@pytest.mark.parametrize("name", exports.NAMES)
def test_outputs_are_equal_in_every_bit(name: str) -> None:
    values = reference.run(exports.network(name), exports.inputs(name))
    expected = exports.arrays(name, "delegate_ref")["out0"]
    assert values["out0"].dtype == expected.dtype
    np.testing.assert_array_equal(values["out0"], expected)


@pytest.mark.parametrize("name", exports.SMALL)
def test_every_int8_tensor_of_a_small_network_is_equal(name: str) -> None:
    graph = exports.network(name)
    values = reference.run(graph, exports.inputs(name))
    stated = {
        tensor: array
        for tensor, array in exports.arrays(name, "delegate_ref").items()
        if array.dtype == np.int8
    }
    assert stated
    for tensor, array in stated.items():
        np.testing.assert_array_equal(values[tensor], array, err_msg=tensor)


@pytest.mark.parametrize("kind", exports.GPUS)
@pytest.mark.parametrize("name", exports.NAMES)
def test_the_executorch_policy_resolves_what_executorch_resolves(name: str, kind: str) -> None:
    graph, expected = exports.network(name), exports.resolved(name, kind)
    algorithms, layouts, _ = decide(graph, captured(exports.GPUS[kind]))
    assert {tensor: layouts[tensor] for tensor in expected["layouts"]} == expected["layouts"]
    dynamic = {tensor for tensor in expected["layouts"] if graph.layout_of(tensor) == CONV2D}
    assert dynamic == set(expected["layouts"])
    assert {node for node, how in algorithms.items() if how == "im2col"} == expected["im2col"]
    # Whatever the file states stays as it is.
    assert {tensor: layouts[tensor] for tensor in graph.layouts} == graph.layouts


@pytest.mark.parametrize("kind", exports.GPUS)
@pytest.mark.parametrize("name", exports.NAMES)
def test_plans_make_tensors_in_the_resolved_layouts(name: str, kind: str) -> None:
    graph, expected = exports.network(name), exports.resolved(name, kind)
    plan = resolve(graph, exports.GPUS[kind], policy="executorch")
    made = {
        value.tensor: value.layout
        for step in plan.steps
        if not step.is_relayout
        for value in step.outputs
    }
    assert {tensor: made[tensor] for tensor in expected["layouts"]} == expected["layouts"]
    ours = resolve(graph, exports.GPUS[kind])
    assert ours.cost_us <= plan.cost_us + 1e-6


def test_serialised_layouts_are_kept_as_preferences() -> None:
    graph = exports.network("chain")
    assert graph.layouts == {"v34": "4W4C", "v54": "4C1W", "v78": "4C1W"}
    # A linear layer's rows of a larger tensor keep 4H4W; of a matrix, 4W there is 4C here.
    assert exports.network("lineartransposed").layouts["v14"] == "4H4W"
    assert exports.network("mobilenetv2_relu").layouts["v639"] == "4C"


def test_a_blob_alone_and_a_file_of_this_package_are_the_same_network(tmp_path: Path) -> None:
    graph = exports.network("unet")
    (x,) = exports.inputs("unet")
    expected = exports.arrays("unet", "delegate_ref")["out0"]
    fileformat.save(graph, tmp_path / "net.vkb")
    again = fileformat.read(tmp_path / "net.vkb")
    np.testing.assert_array_equal(reference.run(again, [x])["out0"], expected)
    program = (exports.folder("unet") / "model.pte").read_bytes()
    start = program.index(b"VH00") - 4
    (tmp_path / "blob.bin").write_bytes(program[start:])
    # Its constants are named data of the program: without that, they are asked for by name.
    with pytest.raises(FormatError, match="put the one that was written with it beside it"):
        from_executorch(tmp_path / "blob.bin")


def test_another_size_within_the_bounds() -> None:
    graph = from_executorch(
        exports.folder("convnets") / "model.pte", input_shapes={"in0": (1, 3, 11, 9)}
    )
    x = exports.inputs("convnets")[0][:, :, :11, :9]
    found = reference.run(graph, [x])["out0"]
    whole = reference.run(exports.network("convnets").with_shapes({"in0": x.shape}), [x])["out0"]
    np.testing.assert_array_equal(found, whole)
    assert found.shape == (1, 8, 11, 9)


@pytest.mark.parametrize("name", exports.SMALL)
def test_a_larger_batch_is_that_many_images(name: str) -> None:
    (x,) = exports.inputs(name)
    graph = exports.network(name).with_shapes({"in0": (2, *x.shape[1:])})
    found = reference.run(graph, [np.concatenate([x[:, :, ::-1], x])])["out0"]
    np.testing.assert_array_equal(found[1:], exports.arrays(name, "delegate_ref")["out0"])
    (turned,) = reference.run(exports.network(name), [x[:, :, ::-1].copy()])["out0"]
    np.testing.assert_array_equal(found[0], turned)


@pytest.mark.parametrize("name", ["chain", "unet"])
def test_networks_with_copies_take_smaller_images_where_they_are_told(name: str) -> None:
    (x,) = exports.inputs(name)
    shape = (1, 3, x.shape[2] // 2, x.shape[3])
    program = exports.folder(name) / "model.pte"
    graph = from_executorch(program, input_shapes={"in0": shape})
    whole = exports.arrays(name, "delegate_ref")["out0"]
    found = reference.run(graph, [x[:, :, : shape[2]]])["out0"]
    assert found.shape == (1, whole.shape[1], whole.shape[2] // 2, whole.shape[3])
    if name == "chain":
        # Rows that no tap joins with the cut: three layers of 3x3, and two rows for each.
        np.testing.assert_array_equal(found[:, :, :8], whole[:, :, :8])
