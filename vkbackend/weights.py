"""Packed weights on a device, each content once: plans of several shapes share them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from vkbackend.device import Buffer, Device, Region
from vkbackend.graph import Array
from vkbackend.ops.base import OFFSET_ALIGNMENT_BYTES, ceil_div

Key = tuple[int, str]


class WeightStore:
    """Arrays by content; a buffer lives as long as some holder uses an array in it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._regions: dict[bytes, Region] = {}
        self._users: dict[bytes, int] = {}

    def hold(self, arrays: Iterable[tuple[Key, Array]]) -> tuple[dict[Key, Region], list[bytes]]:
        """Uploads what is not there yet, into one buffer; returns regions and a receipt."""
        digests: dict[Key, bytes] = {}
        new: dict[bytes, Array] = {}
        for key, array in arrays:
            digest = hashlib.sha256(array.tobytes()).digest()
            digests[key] = digest
            if digest not in self._regions:
                new[digest] = array
        self._upload(new)
        for digest in digests.values():
            self._users[digest] = self._users.get(digest, 0) + 1
        return {key: self._regions[d] for key, d in digests.items()}, list(digests.values())

    def _upload(self, arrays: Mapping[bytes, Array]) -> None:
        if not arrays:
            return
        sizes = [
            ceil_div(a.nbytes, OFFSET_ALIGNMENT_BYTES) * OFFSET_ALIGNMENT_BYTES
            for a in arrays.values()
        ]
        buffer = self._device.buffer(sum(sizes), access="device")
        offset = 0
        for (digest, array), size in zip(arrays.items(), sizes, strict=True):
            self._device.write(buffer, array, offset)
            self._regions[digest] = Region(buffer, offset, array.nbytes)
            offset += size

    def release(self, receipt: Iterable[bytes]) -> None:
        """Gives back what `hold` returned; frees buffers that nobody uses any more."""
        for digest in receipt:
            self._users[digest] -= 1
        used = {id(self._regions[d].buffer) for d, users in self._users.items() if users > 0}
        for digest in [d for d in self._regions if id(self._regions[d].buffer) not in used]:
            self._regions.pop(digest).buffer.close()
            self._users.pop(digest, None)

    @property
    def buffers(self) -> list[Buffer]:
        """Every buffer that is held."""
        return list({id(r.buffer): r.buffer for r in self._regions.values()}.values())
