"""Notice that packets of an H.264 stream are missing, which its decoder hides: it repeats what it has."""

from __future__ import annotations

import re

_NAL_UNIT = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)
_SLICE, _IDR_SLICE, _SEQUENCE = 1, 5, 7
_HIGH_PROFILES = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
"""profile_idc of those whose sequence parameters name the chroma format."""
_HEADER = 48
"""Bytes that hold all that is read of a unit."""


class H264FrameNumbers:
    """Follow the frame numbers of an Annex B stream; source: ITU-T H.264, 7.3.2.1, 7.3.3 and 7.4.3.

    Every picture that others refer to counts one up, and an IDR picture begins at 0 again.
    """

    def __init__(self) -> None:
        self._bits = 0  # of frame_num; 0 where the stream's parameters are not known, or allow for gaps
        self._separate_planes = False
        self._newest: int | None = None

    def skips(self, packet: bytes) -> bool:
        """Take the next packet, one picture; return whether pictures that it may refer to never came."""
        for unit in _NAL_UNIT.finditer(packet):
            kind, is_reference = unit[1][0] & 31, bool(unit[1][0] & 0x60)
            bits = _Bits(packet[unit.end() : unit.end() + _HEADER])
            try:
                if kind == _SEQUENCE:
                    self._read_sequence(bits)
                elif kind in (_SLICE, _IDR_SLICE):
                    return self._follow(bits, kind == _IDR_SLICE, is_reference)
            except ValueError:  # cut short: the decoder will say so
                return False
        return False

    def _read_sequence(self, bits: _Bits) -> None:
        self._bits, self._separate_planes = 0, False
        profile = bits.take(8)
        bits.take(16)
        bits.golomb()
        if profile in _HIGH_PROFILES:
            if bits.golomb() == 3:
                self._separate_planes = bool(bits.take(1))
            bits.golomb(), bits.golomb(), bits.take(1)
            if bits.take(1):  # scaling lists, which hardly any camera sends
                return
        width = bits.golomb() + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.take(1), bits.golomb(), bits.golomb()
            for _ in range(bits.golomb()):
                bits.golomb()
        bits.golomb()
        gaps_are_allowed = bits.take(1)
        self._bits = 0 if gaps_are_allowed else width

    def _follow(self, bits: _Bits, is_idr: bool, is_reference: bool) -> bool:
        if not self._bits:
            return False
        for _ in range(3):
            bits.golomb()
        bits.take(2 * self._separate_planes)
        number, newest = bits.take(self._bits), self._newest
        if is_reference:
            self._newest = number
        return not is_idr and newest is not None and number not in (newest, (newest + 1) % 2**self._bits)


class _Bits:
    """Read the bits of a unit, without the bytes that keep start codes out of it.

    Raises:
        ValueError: at its end.
    """

    def __init__(self, data: bytes) -> None:
        plain = data.replace(b"\0\0\3", b"\0\0")
        self._rest = "".join(f"{byte:08b}" for byte in plain)

    def take(self, count: int) -> int:
        """Return the number in the next `count` bits."""
        taken, self._rest = self._rest[:count], self._rest[count:]
        if len(taken) < count:
            raise ValueError("no more bits")
        return int(taken or "0", 2)

    def golomb(self) -> int:
        """Return the number in the next Exp-Golomb code: as many zeros before its one as bits behind it."""
        zeros = self._rest.index("1")
        return self.take(2 * zeros + 1) - 1
