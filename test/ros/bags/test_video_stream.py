"""Streams as encoders make them: every frame comes, and a reference picture that is lost is noticed."""

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from short_drive import START, STEP

from querydiff_ros.bags.video_stream import LOST, VideoStream

FRAMES = 24


def encoded(options):
    """Return the packets of a picture that drifts, and which of them others may refer to."""
    wide = np.random.default_rng(1).integers(0, 256, (64, 160, 3), np.uint8)
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt, codec.gop_size = 96, 64, "yuv420p", 100
    codec.time_base, codec.framerate, codec.options = Fraction(1, 10), Fraction(10), options
    packets = []
    for index in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide[:, 2 * index : 2 * index + 96]), format="rgb24")
        frame.pts, frame.time_base = index, codec.time_base
        packets += codec.encode(frame)
    return [bytes(packet) for packet in [*packets, *codec.encode(None)]]


def decoded(packets):
    stream = VideoStream()
    frames = [
        found for data in packets for found in stream.decode(SimpleNamespace(format="h264", data=data), len(data))
    ]
    return [*frames, *stream.rest()], stream


@pytest.mark.parametrize(
    "options",
    [
        {"profile": "baseline"},
        {"tune": "zerolatency", "x264-params": "slices=4"},
        {"x264-params": "interlaced=1:bframes=0"},
        {"x264-params": "aud=1:bframes=0:ref=4"},
        {"x264-params": "bframes=6:b-pyramid=normal"},
        {"qp": "0", "x264-params": "bframes=0"},
    ],
)
def test_a_whole_stream_is_whole_and_one_with_a_gap_is_not(options):
    packets = encoded(options)
    frames, stream = decoded(packets)
    assert (len(frames), stream.faults) == (FRAMES, {})
    lost = next(index for index in range(8, FRAMES) if is_reference(packets[index]))
    frames, stream = decoded(packets[:lost] + packets[lost + 1 :])
    assert stream.faults[LOST] > 0
    assert len(frames) + stream.faults[LOST] == FRAMES - 1


def is_reference(packet):
    """Return whether other pictures may refer to this one: nal_ref_idc of its slices."""
    heads = [packet[at + 3] for at in range(len(packet) - 3) if packet[at : at + 3] == b"\0\0\1"]
    return any(head & 0x60 for head in heads if head & 31 in (1, 5))


def test_a_stream_begins_again_with_another_codec():
    """What waited comes first; the new one needs a key frame of its own."""
    stream = VideoStream()
    packets = encoded({"x264-params": "bframes=0"})[:4]
    for data in packets:
        assert len(list(stream.decode(SimpleNamespace(format="h264", data=data), START))) == 1
    assert list(stream.decode(SimpleNamespace(format="av1", data=b"x"), START + STEP)) == []
    assert stream.faults == {"are of the codec 'av1'; H.264 and H.265 are read": 1}
    frames = [found for data in packets for found in stream.decode(SimpleNamespace(format="h264", data=data), START)]
    assert len(frames) == 4
