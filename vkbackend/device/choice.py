"""Which of the devices at hand to use, and why the others are passed over. Pure: no device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vkbackend.errors import DeviceError
from vkbackend.gpu import Family, GpuInfo

MINIMUM_API_VERSION = (1, 1)

_TYPE_ORDER = ("discrete", "integrated", "virtual", "other", "cpu")
_SOFTWARE_ORDER = (Family.LAVAPIPE, Family.SWIFTSHADER)


@dataclass(frozen=True)
class Candidate:
    """A device to choose from: its facts, and whether it has a queue that computes."""

    info: GpuInfo
    has_compute_queue: bool = True


def choose(candidates: Sequence[Candidate], selector: int | str | None, origin: str = "") -> int:
    """The index of the device to use.

    `selector` is an index, a part of a device's name or a family's name in any case, or None for
    the best; `origin` says in errors where it came from. DeviceError lists every device and why
    each was passed over.
    """
    if not candidates:
        raise DeviceError(
            "no Vulkan device: no driver was found, or none that has a GPU; install the GPU "
            "vendor's, or Mesa's lavapipe, which runs on any CPU (on Debian and Ubuntu: "
            "apt install mesa-vulkan-drivers)"
        )
    if isinstance(selector, str) and selector.strip().isdecimal():
        # "750" may be an index or a part of "Adreno (TM) 750".
        index = int(selector)
        selector = index if index < len(candidates) else selector.strip()
    reasons = [why_not(candidate, index, selector) for index, candidate in enumerate(candidates)]
    fitting = [index for index, reason in enumerate(reasons) if reason is None]
    if not fitting:
        raise DeviceError(_message(candidates, reasons, selector, origin))
    return min(fitting, key=lambda index: _rank(candidates[index].info))


def why_not(candidate: Candidate, index: int, selector: int | str | None) -> str | None:
    """Why a device is passed over, or None when it fits the selector and can be used."""
    info = candidate.info
    if isinstance(selector, int) and index != selector:
        return f"its index is not {selector}"
    if isinstance(selector, str) and not _matches(info, selector):
        return f"its name does not contain {selector!r}"
    if info.api_version[:2] < MINIMUM_API_VERSION:
        return "it is older than Vulkan 1.1"
    if not candidate.has_compute_queue:
        return "it has no compute queue"
    return None


def _matches(info: GpuInfo, part: str) -> bool:
    # lavapipe calls its device "llvmpipe (...)": the family's name counts as well.
    return part.lower() in info.name.lower() or part.lower() == info.family.value


def _rank(info: GpuInfo) -> tuple[int, int]:
    """Lower is better; equal ranks keep the loader's order."""
    software = _SOFTWARE_ORDER.index(info.family) if info.family in _SOFTWARE_ORDER else 9
    return _TYPE_ORDER.index(info.device_type), software if info.is_software else 0


def _message(
    candidates: Sequence[Candidate],
    reasons: Sequence[str | None],
    selector: int | str | None,
    origin: str,
) -> str:
    asked = "" if selector is None else f" {selector!r}{f' (from {origin})' if origin else ''}"
    lines = [f"no usable Vulkan device{asked}; passed over:"]
    for index, (candidate, reason) in enumerate(zip(candidates, reasons, strict=True)):
        info = candidate.info
        version = ".".join(str(part) for part in info.api_version)
        lines.append(f"  {index}: {info.name} ({info.device_type}, Vulkan {version}): {reason}")
    way_out = "give an index or a part of a name from this list, or nothing for the best"
    if selector is None:
        way_out = "a device needs Vulkan 1.1 and a compute queue: update its driver"
    return "\n".join([*lines, way_out])
