"""The driver's compiled pipelines, kept on disk from one run to the next."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from vkbackend import env, vk
from vkbackend.device.context import Context, Owner
from vkbackend.errors import DeviceError

_MAGIC = b"vkbackend pipeline cache 1\n"
_DIGEST_BYTES = 32


class PipelineCache:
    """A VkPipelineCache, filled from its file; the file's name tells device, driver and UUID."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._path = env.cache_directory() / "pipelines" / f"{context.physical.identity}.bin"
        data = unpack(read_file(self._path))
        self._owner = Owner(context)
        try:
            self.handle = self._create(data)
        except DeviceError:  # a driver may refuse what it wrote itself, before an update
            data = b""
            self.handle = self._create(data)
        self._saved = data

    def _create(self, data: bytes) -> object:
        info = vk.struct(
            "VkPipelineCacheCreateInfo", initialDataSize=len(data), pInitialData=data or None
        )
        return self._owner.create("VkPipelineCache", info, "making the pipeline cache")

    def save(self) -> None:
        """Writes the file if the cache has changed. A folder that cannot be written is no error."""
        if self._owner.is_closed:
            return
        size, device = vk.ffi.new("size_t *"), self._context.handle
        if vk.lib.vkGetPipelineCacheData(device, self.handle, size, vk.ffi.NULL) != 0:
            return
        data = vk.ffi.new("char[]", max(1, int(size[0])))
        if vk.lib.vkGetPipelineCacheData(device, self.handle, size, data) != 0:
            return
        content = bytes(vk.ffi.buffer(data, size[0]))
        if content != self._saved:
            write_file(self._path, pack(content))
            self._saved = content


def pack(data: bytes) -> bytes:
    """A file's content: a line that says what it is, a checksum, the data."""
    return _MAGIC + hashlib.sha256(data).digest() + data


def unpack(content: bytes) -> bytes:
    """The data of a file's content; empty when it is damaged or something else."""
    begin = len(_MAGIC) + _DIGEST_BYTES
    data = content[begin:]
    return data if content[:begin] == pack(data)[:begin] else b""


def read_file(path: Path) -> bytes:
    """A file's bytes; none when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def write_file(path: Path, content: bytes) -> None:
    """Replaces a file in one step. A folder that cannot be written is no error: it is a cache."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
