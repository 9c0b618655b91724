"""The self-test: exact on every device at hand, and not fooled by a shader that is not exact."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.small_kernels import CompileGlsl
from vkbackend import shaderc, shaders
from vkbackend.device import Device, selftest
from vkbackend.device.selftest import Exactness, exactness
from vkbackend.device.selftest_cases import cases, operation_name
from vkbackend.gpu import INTEGER_DOTS, Dot

# As a fused multiply-add would, from halves of 12 bits whose products are exact.
FUSED = """
    precise float a_high = uintBitsToFloat(floatBitsToUint(a) & 0xFFFFF000u), a_low = a - a_high;
    precise float b_high = uintBitsToFloat(floatBitsToUint(b) & 0xFFFFF000u), b_low = b - b_high;
    precise float cross = a_high * b_low + a_low * b_high;
    precise float sum = ((a_high * b_high + addend) + cross) + a_low * b_low"""
# What a device that computes carelessly would make of the shader.
CARELESS = {
    "float(int(a))": ("float(int(a) & ~1)", "conversion to float"),
    "uintBitsToFloat(a) * uintBitsToFloat(b))": (
        "uintBitsToFloat(a + 1u) * uintBitsToFloat(b))",
        "float multiplication",
    ),
    "return floatBitsToUint(roundEven(uintBitsToFloat(a)))": (
        "return floatBitsToUint(floor(uintBitsToFloat(a) + 0.5))",
        "roundEven",
    ),
    "uint(int(uintBitsToFloat(a)))": ("uint(int(floor(uintBitsToFloat(a))))", "conversion to int"),
    "precise float sum = product + addend": (FUSED, "product and sum"),
    "uint(bitfieldExtract(int(a), int(b), 8))": (
        "bitfieldExtract(a, int(b), 8)",
        "bitfieldExtract",
    ),
    "sum += bitfieldExtract(int(a), i, 8)": ("sum += int(bitfieldExtract(a, i, 8))", "dot product"),
    "clamp(roundEven(scaled)": ("clamp(floor(scaled + 0.5)", "requantisation"),
    "return uint(high)": ("return uint(high + (low < 0 ? 1 : 0))", "high half of a product"),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for this test alone, so that there is no verdict in it."""
    monkeypatch.setenv("VKBACKEND_CACHE_DIR", str(tmp_path))
    return tmp_path / "selftest"


def test_the_device_is_exact(device: Device) -> None:
    assert exactness(device) == Exactness(True, ())


def test_a_careless_device_is_found_out(device: Device, compile_glsl: CompileGlsl) -> None:
    text = (shaderc.SOURCES / "selftest.comp").read_text().split("#version 450", 1)[1]
    text = text.replace("#pragma variants", "// variants")
    assert selftest._failures(device, compile_glsl(text), cases(Dot.PLAIN)) == []
    for right, (wrong, operation) in CARELESS.items():
        assert right in text
        careless = compile_glsl(text.replace(right, wrong))
        failures = selftest._failures(device, careless, cases(Dot.PLAIN))
        assert [line.split(" of ")[0] for line in failures] == [operation.split(" of ")[0]]
        assert " gave 0x" in failures[0]


def test_a_verdict_is_kept_and_a_damaged_one_is_not_believed(
    device: Device, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exactness(device).exact
    (path,) = own_cache.iterdir()
    assert path.name.startswith(device.identity)
    path.write_text('{"failures": ["plain: made up"]}')
    assert exactness(device) == Exactness(False, ("plain: made up",))
    assert exactness(device, use_cache=False).exact
    for damaged in ("", "[]", '{"failures": "none"}', '{"failures": [1]}'):
        path.write_text(damaged)
        assert exactness(device).exact
    monkeypatch.setattr(selftest, "_failures", lambda *_: pytest.fail("computed again"))
    assert exactness(device).exact


def test_a_form_that_does_not_compile_is_a_failure(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = shaders.load("selftest.plain")
    interface = dataclasses.replace(module.interface, capabilities=("Float64",))
    broken = dataclasses.replace(module, interface=interface, digest="broken")
    monkeypatch.setattr(shaders, "load", lambda name: broken)
    verdict = exactness(device)
    assert not verdict.exact
    assert verdict.failures[0] == (
        f"plain: selftest.plain cannot run on {device.info.name}: it needs the capability "
        "Float64, which the device does not offer"
    )


@pytest.mark.parametrize("dot", INTEGER_DOTS)
def test_the_cases_themselves(dot: Dot) -> None:
    made, again = cases(dot), cases(dot)
    assert np.array_equal(made.operands, again.operands)
    assert np.array_equal(made.expected, again.expected)
    assert len({operation_name(row) for row in made.operands}) == 9
    by_operation = {int(row[0]): 0 for row in made.operands}
    for row in made.operands:
        by_operation[int(row[0])] += 1
    assert min(by_operation.values()) > 100
