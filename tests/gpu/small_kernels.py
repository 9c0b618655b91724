"""Shaders of a few lines, and what the tests of the device layer do with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vkbackend.device import Commands, Device, Region
from vkbackend.shaders import Module

CompileGlsl = Callable[[str], Module]

# results[i] = values[i] * factor + addend
SCALE = """
layout(local_size_x = 64) in;
layout(constant_id = 0) const int FACTOR = 1;
layout(set = 0, binding = 0) readonly buffer Values { int values[]; };
layout(set = 0, binding = 1) writeonly buffer Results { int results[]; };
layout(push_constant) uniform Parameters { int addend; uint count; };
void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < count) results[i] = values[i] * FACTOR + addend;
}
"""
IN_PLACE = """
layout(local_size_x = 64) in;
layout(set = 0, binding = 0) buffer Values { int values[]; };
void main() { values[gl_GlobalInvocationID.x] = values[gl_GlobalInvocationID.x] * 3 + 1; }
"""
CONSTANTS = """
layout(local_size_x_id = 4, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const int SIGNED = -7;
layout(constant_id = 1) const uint UNSIGNED = 4000000000u;
layout(constant_id = 2) const float FLOAT = 0.5;
layout(constant_id = 3) const bool FLAG = true;
layout(constant_id = 4) const uint WIDTH = 8;
layout(set = 0, binding = 0) writeonly buffer Results { uint results[]; };
layout(push_constant) uniform Parameters { ivec2 pair; float scale; };
void main() {
    if (gl_LocalInvocationID.x > 0) return;
    results[0] = uint(SIGNED);
    results[1] = UNSIGNED;
    results[2] = floatBitsToUint(FLOAT);
    results[3] = FLAG ? 1u : 0u;
    results[4] = gl_WorkGroupSize.x;
    results[5] = uint(pair.x);
    results[6] = uint(pair.y);
    results[7] = floatBitsToUint(scale);
}
"""
SLOW = """
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) buffer Values { uint values[]; };
layout(push_constant) uniform Parameters { uint rounds; };
void main() {
    uint value = values[0] + gl_WorkGroupID.x;
    for (uint i = 0u; i < rounds; i++) value = (value * 1664525u + 1013904223u) ^ (value >> 7);
    values[gl_WorkGroupID.x & 15u] = value;
}
"""
COUNT = 1000


def ints(device: Device, region: Region) -> list[int]:
    """The region's content as int32."""
    content = device.read(region.buffer, region.size_bytes, region.offset_bytes)
    return content.view(np.int32).tolist()


def scale(
    device: Device,
    commands: Commands,
    compile_glsl: CompileGlsl,
    source: Region,
    destination: Region,
    addend: int = 0,
    factor: int = 1,
) -> None:
    """Adds a dispatch of SCALE."""
    pipeline = device.pipeline(compile_glsl(SCALE), {"FACTOR": factor})
    bindings = {"Values": source, "Results": destination}
    count = min(source.size_bytes, destination.size_bytes) // 4
    push = {"addend": addend, "count": count}
    commands.dispatch(pipeline, bindings, push, (-(-count // 64), 1, 1))


def use_everything(device: Device, compile_glsl: CompileGlsl) -> None:
    """Something of everything."""
    with (
        device.buffer(4 * COUNT, access="device", staged=True) as source,
        device.buffer(4 * COUNT, access="device") as target,
        device.commands() as commands,
    ):
        device.write(source, np.arange(COUNT, dtype=np.int32))
        commands.timestamp()
        scale(device, commands, compile_glsl, source.region(), target.region(), 1, 3)
        commands.copy(target.region(0, 256), source.region(256, 256))
        scale(device, commands, compile_glsl, source.region(), target.region(), 1, 3)
        commands.timestamp()
        commands.run()
        commands.run()
        assert ints(device, target.region(0, 8)) == [1, 4]
