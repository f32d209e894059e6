"""Decode the video of a topic packet by packet, and say which packets give no sound frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import av
import numpy as np
from av.video.frame import PictureType
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from querydiff_ros.bags.h264_frame_numbers import H264FrameNumbers

FOXGLOVE_VIDEO, FFMPEG_PACKET = "foxglove_msgs/msg/CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"
VIDEO_TYPES = (FOXGLOVE_VIDEO, FFMPEG_PACKET)
"""Types of messages with one packet of a video each; both begin with stamp and frame, as a std_msgs/Header does."""
_DEFINITIONS = {
    FOXGLOVE_VIDEO: "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format",
    FFMPEG_PACKET: "std_msgs/Header header\nint32 width\nint32 height\nstring encoding\nuint64 pts\nuint8 flags\n"
    "bool is_bigendian\nuint8[] data",
}
_CODECS = {"h264": ("h264", "libx264", "libopenh264"), "hevc": ("hevc", "h265", "libx265")}
"""Decoders, and how the names of what they decode begin: FFMPEGPacket also names encoders, such as hevc_nvenc."""
EARLY = "come before the first key frame"
LOST = "follow lost packets, up to the next key frame"
DAMAGED = "do not decode, or follow packets that do not, up to the next key frame"
Tag = TypeVar("Tag")


def typestore() -> Typestore:
    """Return the types of ROS 2's messages, with those of video, which the readers of bags do not know."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for name, text in _DEFINITIONS.items():
        store.register(get_types_from_msg(text, name))
    return store


class VideoStream(Generic[Tag]):
    """Decode H.264 or H.265, one packet a message, into the frames that its camera saw.

    A frame belongs to its packet, whatever the order of decoding. Frames that build upon what is not there are left
    out: the decoder would fill them with grey or with older pictures.

    Attributes:
        faults: numbers of packets without a frame, by what is wrong with them.
        first: the tag of the first packet of each fault.
    """

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.first: dict[str, Tag] = {}
        self._codec: str | None = None
        self._decoder: Any = None
        self._pending: dict[int, Tag] = {}  # by number of the packet, in the order of arrival
        self._packets = 0

    def decode(self, message: Any, tag: Tag) -> Iterator[tuple[Tag, np.ndarray]]:
        """Take the next message; yield the frames that are now complete, each with the tag that came with its packet.

        Frames are uint8 RGB `(H, W, 3)`, in the order in which the camera saw them.
        """
        stated = message.encoding.split(";")[0] if hasattr(message, "encoding") else message.format
        if stated != self._codec:
            yield from self.rest()
            self._open(stated)
        if self._decoder is None:
            self._reject(f"are of the codec {stated!r}; H.264 and H.265 are read", tag)
            return
        data, number = bytes(message.data), self._packets
        self._packets += 1
        self._pending[number] = tag
        if not data:  # which would tell the decoder that the video has ended
            self._breaks[number] = DAMAGED
            return
        if self._numbers and self._numbers.skips(data):
            self._breaks[number] = LOST
        packet = av.Packet(data)
        packet.pts = number
        yield from self._decode(packet, number)

    def rest(self) -> Iterator[tuple[Tag, np.ndarray]]:
        """Yield the frames that still wait for others: the video has ended."""
        if self._decoder is not None:
            yield from self._decode(None, self._packets)
            self._give_up(self._packets)
            self._decoder = self._codec = None

    def _open(self, stated: str) -> None:
        names = (name for name, begin in _CODECS.items() if stated.lower().startswith(begin))
        name = next(names, None)
        self._codec, self._decoder = stated, None
        self._key: int | None = None
        self._breaks: dict[int, str] = {}  # packets from which on frames lack something, and why
        self._numbers = H264FrameNumbers() if name == "h264" else None
        if name is not None:
            self._decoder = av.CodecContext.create(name, "r")
            self._decoder.thread_count = 1  # else frames depend on threads where something is damaged

    def _decode(self, packet: av.Packet | None, number: int) -> Iterator[tuple[Tag, np.ndarray]]:
        try:
            frames = self._decoder.decode(packet)
        except (av.error.FFmpegError, ValueError, MemoryError):  # a rotten packet
            self._breaks.setdefault(number, DAMAGED)
            return
        for frame in frames:
            if frame.pts not in self._pending:  # one packet with two pictures
                continue
            if frame.is_corrupt:
                self._breaks[frame.pts] = DAMAGED
            elif frame.key_frame or frame.pict_type == PictureType.I:
                self._give_up(frame.pts)
                self._key = frame.pts
            fault, tag = self._fault(frame.pts), self._pending.pop(frame.pts)
            if fault is None:
                yield tag, frame.to_ndarray(format="rgb24")
            else:
                self._reject(fault, tag)

    def _fault(self, number: int) -> str | None:
        """Return what is wrong with the frame of a packet, None for nothing."""
        if self._key is None:
            return EARLY
        return next((self._breaks[at] for at in sorted(self._breaks, reverse=True) if self._key < at <= number), None)

    def _give_up(self, number: int) -> None:
        """Reject the packets before `number` that have given no frame: none of them will any more."""
        for pending in [pending for pending in self._pending if pending < number]:
            self._reject(self._fault(pending) or LOST, self._pending.pop(pending))
        self._breaks = {at: fault for at, fault in self._breaks.items() if at >= number}

    def _reject(self, fault: str, tag: Tag) -> None:
        self.faults[fault] += 1
        self.first.setdefault(fault, tag)
