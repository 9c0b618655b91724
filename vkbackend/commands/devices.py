"""`vkbackend devices`: every Vulkan device, what it can do, and whether it computes exactly."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import Any

from vkbackend import env
from vkbackend.commands.options import add_json
from vkbackend.commands.text import print_json, progress, size, table
from vkbackend.device import Device, list_devices
from vkbackend.device.choice import Candidate, choose, why_not
from vkbackend.device.selftest import exactness
from vkbackend.errors import DeviceError, VkBackendError
from vkbackend.gpu import GpuInfo, captured, captured_names

SUMMARY = "list the Vulkan devices, and whether each computes exactly"
EXAMPLE = "vkbackend devices\nvkbackend devices --captured"


@dataclass(frozen=True)
class Verdict:
    """A device's facts, why it cannot be used (None: it can), and which operations went wrong."""

    info: GpuInfo
    unusable: str | None
    failures: tuple[str, ...] = ()


def add_options(parser: ArgumentParser) -> None:
    """--captured, --json."""
    parser.add_argument(
        "--captured",
        action="store_true",
        help="list the GPUs whose facts come with vkbackend instead: names for --gpu",
    )
    add_json(parser)


def run(options: Namespace) -> int:
    """Prints the devices."""
    if options.captured:
        _print_captured(options.json)
        return 0
    infos = list_devices()
    default = _default(infos)
    indices = progress(range(len(infos)), "testing the devices")
    verdicts = [_examine(index, infos[index]) for index in indices]
    if options.json:
        print_json(
            [
                _json(index, verdict, is_default=index == default)
                for index, verdict in enumerate(verdicts)
            ]
        )
        return 0
    for index, verdict in enumerate(verdicts):
        if index:
            print()
        print(f"{index}  {verdict.info.name}{'  (used by default)' if index == default else ''}")
        print(table(_lines(verdict), "<<", "   "))
    return 0


def _default(infos: list[GpuInfo]) -> int | None:
    """The index of the device that is used when none is named; DeviceError without any device."""
    selector = env.DEVICE.read() or None
    try:
        return choose([Candidate(info) for info in infos], selector)
    except DeviceError:
        if not infos:
            raise
        return None


def _examine(index: int, info: GpuInfo) -> Verdict:
    """Opens the device and tests it; what goes wrong is told, so that the others are shown."""
    reason = why_not(Candidate(info), index, index)
    if reason:
        return Verdict(info, reason)
    try:
        with Device.open(index) as device:
            return Verdict(device.info, None, exactness(device).failures)
    except VkBackendError as error:
        return Verdict(info, str(error))


def _lines(verdict: Verdict) -> list[tuple[str, str]]:
    info = verdict.info
    kind = {"cpu": "software, on the CPU"}.get(info.device_type, f"{info.device_type} GPU")
    driver = ", ".join(filter(None, (info.driver_name, info.driver_info))) or "not told"
    accelerated = ", ".join(info.dot_accelerated) or "none"
    forms = f"{info.dot.value} preferred; accelerated: {accelerated}"
    memory = "shared with the host" if info.unified_memory else "of its own"
    smallest, largest = info.min_subgroup_size, info.max_subgroup_size
    sizes = f" ({smallest} to {largest})" if 0 < smallest < largest else ""
    return [
        ("type", f"{kind}; family {info.family.value}; Vulkan {_version(info)}"),
        ("driver", driver),
        ("dot product", forms if info.dot_product else "plain: no integer dot product"),
        ("matrices", _matrices(info)),
        ("subgroup", f"{info.subgroup_size} invocations{sizes}"),
        ("workgroup", f"{info.max_workgroup_invocations} invocations, "
         f"{size(info.max_shared_memory_bytes)} of shared memory"),
        ("memory", f"{size(info.device_memory_bytes)}, {memory}; buffers of up to "
         f"{size(info.max_storage_buffer_range_bytes)}"),
        *_verdict_lines(verdict),
    ]  # fmt: skip


def _matrices(info: GpuInfo) -> str:
    """The shapes (m x n x k) of cooperative matrices that compute int8 products exactly."""
    of_int8 = [str(matrix) for matrix in info.cooperative_matrices if matrix.computes_int8]
    if of_int8:
        return f"int8, cooperative: {', '.join(of_int8)}"
    proven = [str(matrix) for matrix in info.exact_float_matrices]
    if proven:
        return f"float16, cooperative, found exact for int8: {', '.join(proven)}"
    if any(matrix.computes_float16 for matrix in info.cooperative_matrices):
        return "none that is exact for int8"
    return "none"


def _verdict_lines(verdict: Verdict) -> list[tuple[str, str]]:
    if verdict.unusable:
        return [("cannot be used", verdict.unusable.replace("\n", " "))]
    if not verdict.failures:
        return [("arithmetic", "exact: every self-test passed")]
    headings = ("arithmetic", *[""] * len(verdict.failures))
    texts = ("NOT exact: results may differ from other devices", *verdict.failures)
    return list(zip(headings, texts, strict=True))


def _version(info: GpuInfo) -> str:
    return ".".join(map(str, info.api_version))


def _json(index: int, verdict: Verdict, *, is_default: bool) -> dict[str, Any]:
    info = verdict.info
    return {
        "index": index,
        "default": is_default,
        "family": info.family.value,
        "dot": info.dot.value,
        "unusable": verdict.unusable,
        "exact": None if verdict.unusable else not verdict.failures,
        "failures": list(verdict.failures),
        "facts": info.to_json(),
    }


def _print_captured(as_json: bool) -> None:
    gpus = {name: captured(name) for name in captured_names()}
    if as_json:
        print_json({name: info.to_json() for name, info in gpus.items()})
        return
    rows = [("name", "device", "family", "dot product", "driver")]
    for name, info in gpus.items():
        rows.append((name, info.name, info.family.value, info.dot.value, info.driver_name))
    print(table(rows, "<<<<<"))
