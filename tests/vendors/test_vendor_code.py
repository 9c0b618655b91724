"""Reading compilers' output, and naming drivers: needs none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.null.large_networks import resnet50
from vkbackend import vendor
from vkbackend.errors import DeviceError
from vkbackend.layouts import LAYOUTS
from vkbackend.resolve import resolve
from vkbackend.vendor import Compiler, Kernel, kernels_of
from vkbackend.vendor_code import Loop, read_report

# Excerpts of what Mesa 26.2.6 prints, shortened.
IR3 = """\
; CL prog 21/1
@in(r0.x)	in1 (wrmask=0x7)
mov.u32u32 r53.z, 0
l408:
cmps.s.ge up0.y, r53.z, c4.x
(ss)br p0.y, #l468
l411:
cmps.s.ge up0.y, r53.w, c4.y
(ss)br p0.y, #l466
isam.v.base0 (u32)(x)r0.w, r0.x, s#0, t#0
(nop3) add.u r52.w, r52.w, 2
(rpt2)nop
dp4acc.mixed.low r11.w, r2.y, r0.w, (last)r11.w
(rpt1)dp4acc.mixed.low r12.w, r2.z, r0.w, (last)r12.w
stp.u32 p[r1.x], r0.x, 1
jump #l411
l466:
add.u r53.z, r53.z, 1
jump #l408
l468:
end
"""
VALHALL = """\
   IADD_IMM.i32.reconverge r43, 0x0, #0x0
   ICMP_OR.s32.ge.m1 r44, r43, r7, 0x0

   BRANCHZ.reconverge r44^.h0, offset:5

   LD_PKA.i32.unsigned.slot1.wait1 @r45, r45^, 0x1000000
   LOAD.i32.force.unsigned.slot0.wait0 @r52, thread_local_pointer.w0, offset:52
   IDPADD.v4s8 r11, r48, r54, r11^
   IADD_IMM.i32 r43, r43^, #0x1
   BRANCHZ.eq.reconverge 0x0, offset:-7

   NOP.end
"""
RDNA = """\
BB2:
	s_cmp_ge_i32 s1, s5                                         ; bf030501
	s_branch BB5                                                ; bfa0005f
BB7:
	s_load_b128 s[24:27], s[16:17], null                        ; f4080608 f8000000
	buffer_load_b32 v38, v38, s[24:27], 0 offen                 ; e0500000 80462626
	v_dot4_i32_iu8 v13, v39, s31, v13 neg_lo:[1,1,0]            ; cc16400d 7c343f27
BB5:
	s_cbranch_scc0 BB7                                          ; bfa1ff9f
"""


def test_adreno_code_counts_repetitions_and_waits() -> None:
    statistics = {"Instruction Count": 20, "Registers used": 13, "Max Waves Per Core": 14}
    report = read_report("turnip", {**statistics, "STP Count": 1, "LDP Count": 0}, IR3)
    assert (report.instructions, report.registers, report.occupancy) == (20, 13, 14)
    assert (report.spills, report.fills) == (1, 0)
    assert report.dot == "dp4acc.mixed.low"
    inner = Loop(issue_slots=15, dots=3, loads=1, spills=1)
    assert report.loops == (inner, Loop(issue_slots=19, dots=3, loads=1, spills=1))


def test_mali_code_jumps_by_instructions() -> None:
    report = read_report(
        "panvk", {"Instructions": 10, "Spills": 3, "Fills": 4, "Threads": 1}, VALHALL
    )
    assert (report.spills, report.fills, report.occupancy, report.registers) == (3, 4, 1, None)
    assert report.dots == {"IDPADD.v4s8": 1}
    assert report.loops == (Loop(issue_slots=7, dots=1, loads=1, spills=1),)


def test_radeon_code_jumps_to_labels() -> None:
    report = read_report("radv", {"Instructions": 7, "Spilled VGPRs": 1, "Spilled SGPRs": 2}, RDNA)
    assert (report.instructions, report.spills) == (7, 3)
    assert report.dot == "v_dot4_i32_iu8"
    assert report.loops == (Loop(issue_slots=4, dots=1, loads=2, spills=0),)


def test_a_driver_that_tells_nothing_gives_an_empty_report() -> None:
    report = read_report("lavapipe", {}, "")
    assert (report.instructions, report.dot, report.loops) == (None, "", ())


def test_an_unknown_driver_is_an_error_that_lists_all() -> None:
    with pytest.raises(DeviceError) as error:
        Compiler("turnip:999")
    names = "turnip:610, turnip:618, turnip:660, turnip:702, turnip:730, turnip:740, turnip:750, "
    names += "turnip:810, turnip:830, panvk:G310, panvk:G610, radv:navi31, radv:gfx1201, "
    assert str(error.value) == f"no driver 'turnip:999'; there are {names}lavapipe:26"


def test_missing_drivers_are_an_error_that_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vendor, "FOLDER", tmp_path)
    with pytest.raises(DeviceError) as error:
        Compiler("panvk:G610")
    assert str(error.value) == (
        f"the vendors' drivers are not in {tmp_path}: run `make vendor-drivers` in a checkout of "
        "vkbackend (Debian 12 or newer on x86_64; downloads 240 MB, installs nothing)"
    )


def test_kernels_of_a_plan_are_distinct_and_know_their_nodes() -> None:
    plan = resolve(resnet50(64), "adreno_750")
    kernels = kernels_of(plan)
    nodes = {name for users in kernels.values() for name in users}
    assert nodes == {s.node.name for s in plan.steps if not s.choice.candidate.alias}
    assert len(kernels) < len(nodes)


def test_a_kernel_shows_layouts_by_name() -> None:
    constants = (("INPUT_LAYOUT", LAYOUTS["4W4C"].code), ("TILE_PIXELS", 4))
    assert str(Kernel("conv2d_im2col", constants)) == (
        "conv2d_im2col(INPUT_LAYOUT=4W4C, TILE_PIXELS=4)"
    )
