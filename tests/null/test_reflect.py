"""What reflection reads from compiled modules, and what it refuses."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from vkbackend.errors import ShaderError
from vkbackend.reflect import Binding, Constant, Member, ModuleInterface, reflect
from vkbackend.shader_sources import Source
from vkbackend.shaderc import compile_source, find_compiler

EVERYTHING = """#version 450
#extension GL_EXT_integer_dot_product : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#extension GL_KHR_shader_subgroup_arithmetic : require
layout(local_size_x_id = 0, local_size_y = 2, local_size_z_id = 7) in;
layout(constant_id = 0) const uint LOCAL_SIZE_X = 64;
layout(constant_id = 1) const int KERNEL_HEIGHT = -3;
layout(constant_id = 2) const float SCALE = 0.5;
layout(constant_id = 3) const bool HAS_BIAS = true;
layout(constant_id = 4) const bool IS_SIGNED = false;
layout(constant_id = 5) const uint MASK = 0xffffffffu;
layout(binding = 0) readonly buffer Input { int a[]; } first;
layout(binding = 1) writeonly buffer Output { int out_words[]; };
layout(binding = 5) buffer Both { int c[]; } both;
layout(binding = 3) buffer Mixed { readonly int flag; int rest[]; } mixed_members;
layout(binding = 4) readonly buffer Bytes { int8_t c8[]; } bytes;
layout(push_constant) uniform Push {
    uint count; int strides[3]; vec4 scales; float alpha; ivec2 pairs[2];
} push;
void main() {
    int64_t wide = int64_t(first.a[0]) * push.strides[0];
    if (HAS_BIAS && IS_SIGNED) both.c[0] = int(bytes.c8[0]) + int(MASK) + int(wide >> 32);
    int sum = dotPacked4x8EXT(first.a[0], first.a[1]) + KERNEL_HEIGHT + int(push.count * SCALE);
    out_words[0] = subgroupAdd(sum) + mixed_members.flag + int(gl_WorkGroupSize.x);
}
"""

HEAD = "#version 450\nlayout(local_size_x = 8, local_size_y = 4, local_size_z = 2) in;\n"


def compiled(folder: Path, text: str) -> bytes:
    path = folder / "shaders" / "probe.comp"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return compile_source(Source("probe", path), find_compiler())


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> ModuleInterface:
    return reflect(compiled(tmp_path_factory.mktemp("reflect"), EVERYTHING))


def test_constants(everything: ModuleInterface) -> None:
    assert everything.constants == {
        "LOCAL_SIZE_X": Constant(0, "uint", 64),
        "KERNEL_HEIGHT": Constant(1, "int", -3),
        "SCALE": Constant(2, "float", 0.5),
        "HAS_BIAS": Constant(3, "bool", True),
        "IS_SIGNED": Constant(4, "bool", False),
        "MASK": Constant(5, "uint", 0xFFFFFFFF),
        "local_size_z": Constant(7, "uint", 1),
    }


def test_bindings_are_named_by_instance_or_block_and_sorted(everything: ModuleInterface) -> None:
    assert list(everything.bindings.items()) == [
        ("first", Binding(0, "read")),
        ("Output", Binding(1, "write")),
        ("mixed_members", Binding(3, "read_write")),
        ("bytes", Binding(4, "read")),
        ("both", Binding(5, "read_write")),
    ]


def test_push_constants(everything: ModuleInterface) -> None:
    assert everything.push_constants == {
        "count": Member(0, "uint", 1),
        "strides": Member(4, "int", 3),
        "scales": Member(16, "float", 4),
        "alpha": Member(32, "float", 1),
        "pairs": Member(40, "int", 4),
    }
    assert everything.push_constants_size_bytes == 56


def test_local_size_and_capabilities(everything: ModuleInterface) -> None:
    assert everything.local_size == ("LOCAL_SIZE_X", 2, "local_size_z")
    assert everything.capabilities == (
        "DotProduct",
        "DotProductInput4x8BitPacked",
        "GroupNonUniform",
        "GroupNonUniformArithmetic",
        "Int64",
        "StorageBuffer8BitAccess",
    )


def test_json_carries_everything(everything: ModuleInterface) -> None:
    text = json.dumps(everything.to_json())
    assert ModuleInterface.from_json(json.loads(text)) == everything


def test_a_module_that_takes_nothing(tmp_path: Path) -> None:
    spirv = compiled(tmp_path, HEAD + "void main() {}")
    assert reflect(spirv) == ModuleInterface(local_size=(8, 4, 2))


def test_byte_order_does_not_matter(tmp_path: Path) -> None:
    spirv = compiled(tmp_path, EVERYTHING)
    words = struct.unpack(f"<{len(spirv) // 4}I", spirv)
    assert reflect(struct.pack(f">{len(words)}I", *words)) == reflect(spirv)


def test_an_unknown_capability_is_a_number(tmp_path: Path) -> None:
    spirv = compiled(tmp_path, HEAD + "void main() {}")
    capability = struct.pack("<II", 2 << 16 | 17, 9999)
    assert reflect(spirv[:20] + capability + spirv[20:]).capabilities == ("9999",)


def test_cooperative_matrix(tmp_path: Path) -> None:
    text = """#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
layout(local_size_x = 32) in;
layout(binding = 0) buffer Words { int words[]; };
void main() {
    coopmat<int, gl_ScopeSubgroup, 8, 8, gl_MatrixUseAccumulator> sums;
    coopMatLoad(sums, words, 0, 8, gl_CooperativeMatrixLayoutRowMajor);
    coopMatStore(sums, words, 64, 8, gl_CooperativeMatrixLayoutRowMajor);
}
"""
    interface = reflect(compiled(tmp_path, text))
    assert interface.capabilities == ("CooperativeMatrixKHR", "VulkanMemoryModel")


REFUSED = {
    "second set": (
        "layout(set = 1, binding = 0) buffer Far { int a[]; } far; void main() { far.a[0] = 1; }",
        "'far' is in set 1: only set 0 is used",
    ),
    "image": (
        "layout(binding = 0, r32i) uniform iimage2D picture;"
        "void main() { imageStore(picture, ivec2(0), ivec4(0)); }",
        "'picture' is a uniform, image or sampler: use a storage buffer",
    ),
    "uniform buffer": (
        "layout(binding = 0) uniform Sizes { int n; }; layout(binding = 1) buffer B { int b; };"
        "void main() { b = n; }",
        "'Sizes' is a uniform, image or sampler: use a storage buffer",
    ),
    "array of buffers": (
        "layout(binding = 0) buffer Many { int a; } many[2]; void main() { many[1].a = 1; }",
        "'many' is an array of buffers: declare each buffer by itself",
    ),
    "64-bit constant": (
        "layout(constant_id = 0) const double PI = 3.14LF; layout(binding = 0) buffer B { int b; };"
        "void main() { b = int(PI); }",
        "constant 'PI' is neither bool nor a 32-bit int, uint or float",
    ),
    "64-bit push constant": (
        "layout(push_constant) uniform Push { double wide; }; void main() {}",
        "push constant 'wide' is neither bool nor a 32-bit int, uint or float",
    ),
    "push constants with gaps": (
        "layout(push_constant) uniform Push { ivec3 sizes[2]; }; void main() {}",
        "push constant 'sizes' has gaps between its elements: use scalars or vec4",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_what_is_not_handed_over(case: str, tmp_path: Path) -> None:
    text, message = REFUSED[case]
    with pytest.raises(ShaderError) as error:
        reflect(compiled(tmp_path, HEAD + text))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("spirv", "message"),
    [
        (b"", "not a SPIR-V module: 0 bytes that begin with nothing"),
        (b"\x7fELF" * 8, "not a SPIR-V module: 32 bytes that begin with 7f454c46"),
        (
            struct.pack("<7I", 0x07230203, 0x10300, 0, 9, 0, 2 << 16 | 17, 1) + b"\0\0\0\0",
            "damaged SPIR-V module: the instruction at word 7 of 8 has a length of 0 words",
        ),
        (
            struct.pack("<6I", 0x07230203, 0x10300, 0, 9, 0, 5 << 16 | 17),
            "damaged SPIR-V module: the instruction at word 5 of 6 has a length of 5 words",
        ),
    ],
)
def test_refuses_what_is_no_module(spirv: bytes, message: str) -> None:
    with pytest.raises(ShaderError) as error:
        reflect(spirv)
    assert str(error.value) == message
