"""The demo: the digits network gives ONNX Runtime's bits on every device."""

from __future__ import annotations

import json
import sys

import pytest

from vkbackend import cli

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")


def test_every_logit_has_onnxruntimes_bits(
    device_index: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["demo", "--device", str(device_index), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["problems"] == []
    assert (facts["scans"], facts["logits"], facts["equal_logits"]) == (597, 5970, 5970)
    assert facts["right"] == facts["right_int8_onnxruntime"] == 594
    assert facts["right_float_onnxruntime"] == 594
    assert [plan["family"] for plan in facts["plans"][1:]] == ["mali", "adreno"]


def test_it_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 70
    assert max(map(len, lines)) <= 100
    assert "Same bits as ONNX Runtime: 5,970 of 5,970 logits" in lines
    assert "WRONG" in "\n".join(lines)


@pytest.mark.parametrize(
    ("package", "needs", "shown"),
    [
        ("onnxruntime", "the comparison needs ONNX Runtime", "  int8, this device "),
        ("sklearn.datasets", "its scans come with scikit-learn", "One file, resolved for three"),
    ],
)
def test_what_is_missing_is_said_and_the_rest_shown(
    package: str,
    needs: str,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (message,) = (line for line in lines if needs in line)
    assert message.endswith('pip install "vkbackend[demo]"')
    assert any(line.startswith(shown) for line in lines)
