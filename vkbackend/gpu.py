"""GpuInfo: frozen facts about a device, and what follows from them. Never a live handle."""

from __future__ import annotations

import dataclasses
import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vkbackend.errors import DeviceError

CAPTURES = Path(__file__).parent / "gpus"


class Family(enum.Enum):
    """GPU families by PCI or Khronos vendor ID (Vulkan specification, VkVendorId)."""

    MALI = "mali"
    ADRENO = "adreno"
    NVIDIA = "nvidia"
    AMD = "amd"
    INTEL = "intel"
    LAVAPIPE = "lavapipe"
    SWIFTSHADER = "swiftshader"
    UNKNOWN = "unknown"


_FAMILY_OF_VENDOR = {
    0x13B5: Family.MALI,
    0x5143: Family.ADRENO,
    0x10DE: Family.NVIDIA,
    0x1002: Family.AMD,
    0x8086: Family.INTEL,
    0x10005: Family.LAVAPIPE,
    0x1AE0: Family.SWIFTSHADER,
}


class Dot(enum.Enum):
    """How four int8 products are summed: one instruction of either kind, or other arithmetic.

    `lanes` is plain arithmetic on weights that the lanes of a subgroup load for each other;
    `float` is exact in float32, up to 1,024 products at a time.
    """

    PLAIN = "plain"
    SIGNED = "signed"
    MIXED = "mixed"
    LANES = "lanes"
    FLOAT = "float"


INTEGER_DOTS = (Dot.PLAIN, Dot.SIGNED, Dot.MIXED)  # a word of weights against one of activations


# Invocations below which time stops falling: measured in software, else estimates.
_BUSY_INVOCATIONS = {
    Family.LAVAPIPE: 256,
    Family.SWIFTSHADER: 64,
    Family.MALI: 4096,
    Family.ADRENO: 6144,
}
_BUSY_SOFTWARE, _BUSY_INTEGRATED, _BUSY_DISCRETE = 64, 6144, 65_536


@dataclass(frozen=True)
class DotException:
    """A device whose reported acceleration is not what its compiler does, with the evidence."""

    vendor_id: int
    name_part: str
    dot: Dot
    is_instruction: bool  # of its own, and not fewer instructions than other forms take
    evidence: str


# Instructions of one int8 GEMM tile (plain / signed / mixed) under Mesa 26.2.6's compilers.
DOT_EXCEPTIONS = (
    DotException(
        0x5143,
        "Adreno (TM) 618",
        Dot.MIXED,
        False,
        "reports none; a round of the 4x2 tile takes 677 / 327 / 319 issue slots, in float 415",
    ),
    DotException(
        0x5143, "Adreno (TM) 630", Dot.MIXED, False, "reports none; 2948 / 1704 / 1574 instructions"
    ),
    DotException(
        0x5143, "Adreno (TM) 830", Dot.SIGNED, True, "reports none; 2708 / 567 / 567 instructions"
    ),
)


@dataclass(frozen=True)
class CooperativeMatrix:
    """One entry of vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR (A: m x k, B: k x n)."""

    m_size: int
    n_size: int
    k_size: int
    a_type: str
    b_type: str
    c_type: str
    result_type: str
    saturating: bool
    scope: str

    @property
    def computes_int8(self) -> bool:
        """Whether it multiplies int8 values and adds them up as int32."""
        types = self.a_type, self.b_type, self.c_type, self.result_type
        is_exact = types == ("int8", "int8", "int32", "int32") and not self.saturating
        return is_exact and self.scope == "subgroup"

    @property
    def computes_float16(self) -> bool:
        """Whether it multiplies float16 values and adds them up as float32."""
        types = self.a_type, self.b_type, self.c_type, self.result_type
        return types == ("float16", "float16", "float32", "float32") and self.scope == "subgroup"

    def __str__(self) -> str:
        return f"{self.m_size}x{self.n_size}x{self.k_size}"


@dataclass(frozen=True)
class GpuInfo:
    """Facts of one device as its driver reports them; sizes in bytes, versions as tuples."""

    name: str
    vendor_id: int
    device_id: int
    device_type: str  # other, integrated, discrete, virtual, cpu
    api_version: tuple[int, int, int]
    driver_name: str
    driver_info: str
    driver_version: int
    subgroup_size: int
    min_subgroup_size: int
    max_subgroup_size: int
    max_workgroup_invocations: int
    max_workgroup_size: tuple[int, int, int]
    max_workgroup_count: tuple[int, int, int]
    max_shared_memory_bytes: int
    max_storage_buffer_range_bytes: int
    max_push_constants_bytes: int
    max_memory_allocation_bytes: int
    min_storage_buffer_offset_alignment_bytes: int
    timestamp_period_ns: float
    timestamp_valid_bits: int
    dot_product: bool  # the feature shaderIntegerDotProduct
    dot_accelerated: tuple[str, ...]  # of signed, unsigned, mixed: 4x8-bit packed, not saturating
    shader_int8: bool
    shader_int64: bool
    shader_float16: bool
    storage_buffer_8bit: bool
    round_to_nearest_even_float32: bool | None  # None: not captured
    unified_memory: bool  # every device-local memory type is host visible
    device_memory_bytes: int
    cooperative_matrices: tuple[CooperativeMatrix, ...] = ()
    # Of float16, where there are none of int8: those that a self-test found to sum exactly.
    exact_float_matrices: tuple[CooperativeMatrix, ...] = ()

    @property
    def family(self) -> Family:
        """The family that the vendor ID names."""
        return _FAMILY_OF_VENDOR.get(self.vendor_id, Family.UNKNOWN)

    @property
    def is_software(self) -> bool:
        """True for a driver that computes on the CPU (lavapipe, SwiftShader)."""
        return self.device_type == "cpu"

    @property
    def loads_by_lane(self) -> bool:
        """True where a load costs the more the more lanes do it, and shuffles are cheap."""
        return self.family in (Family.LAVAPIPE, Family.SWIFTSHADER)

    @property
    def busy_invocations(self) -> int:
        """How many invocations at least a dispatch needs to leave no lane idle."""
        other = _BUSY_INTEGRATED if self.unified_memory else _BUSY_DISCRETE
        return _BUSY_INVOCATIONS.get(self.family, _BUSY_SOFTWARE if self.is_software else other)

    @property
    def dot(self) -> Dot:
        """The dot-product form to prefer: an exception's, else an accelerated one, else plain."""
        if not self.dot_product:
            return Dot.PLAIN
        if exception := self._dot_exception:
            return exception.dot
        for form in (Dot.SIGNED, Dot.MIXED):
            if form.value in self.dot_accelerated:
                return form
        return Dot.PLAIN

    @property
    def has_dot_instruction(self) -> bool:
        """Whether the preferred form is one instruction."""
        if exception := self._dot_exception:
            return self.dot_product and exception.is_instruction
        return self.dot is not Dot.PLAIN

    @property
    def _dot_exception(self) -> DotException | None:
        for exception in DOT_EXCEPTIONS:
            if self.vendor_id == exception.vendor_id and exception.name_part in self.name:
                return exception
        return None

    def to_json(self) -> dict[str, Any]:
        """The facts as plain JSON values; `from_json` is the inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> GpuInfo:
        """Facts from `to_json`; DeviceError names what is missing or unknown."""
        known = {field.name for field in dataclasses.fields(cls)}
        matrices = "cooperative_matrices", "exact_float_matrices"
        required = known.difference(matrices)
        problems = [f"{name} is missing" for name in sorted(required - facts.keys())]
        problems += [f"{name} is unknown" for name in sorted(facts.keys() - known)]
        if problems:
            raise DeviceError(f"not the facts of a GPU: {', '.join(problems)}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in facts.items()
        }
        for name in matrices:
            values[name] = tuple(CooperativeMatrix(**entry) for entry in facts.get(name, ()))
        return cls(**values)


def captured_names() -> list[str]:
    """Names of the GPUs whose facts come with the package."""
    return sorted(path.stem for path in CAPTURES.glob("*.json"))


def captured(name: str | Path) -> GpuInfo:
    """Facts of a captured GPU by its name (`mali_g610`), or of a JSON file by its path.

    Raises DeviceError where there is neither, listing the names there are.
    """
    path = Path(name) if str(name).endswith(".json") else CAPTURES / f"{name}.json"
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError:
        names = ", ".join(captured_names())
        raise DeviceError(
            f"no captured GPU {str(name)!r}: give a .json file or one of {names}"
        ) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DeviceError(f"{path} is not a JSON file of GPU facts: {error}") from None
    if not isinstance(facts, dict):
        raise DeviceError(f"{path} is not a JSON file of GPU facts: it holds no object")
    return GpuInfo.from_json(facts)
