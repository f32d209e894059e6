"""Open compressed image messages: whole JPEG, PNG and TIFF pictures, also those that hold a camera's mosaic."""

from __future__ import annotations

import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage

from querydiff_core.utils.image_files import PNG_SIGNATURE, png_end
from querydiff_ros.common.image_conversions import ENCODINGS, BadFrame, to_8_bits

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")
"""A marker among coded pixels: neither a stuffed 0xff nor a restart."""
_TIFF_STARTS = (b"II*\0", b"MM\0*")
_MOSAIC = re.compile(r"(bayer_\w+?);\s*\w+ compressed\s*(\w*)\s*")
_LIBRARY_LINES = re.compile(
    rb"\[ ?(WARN|ERROR|INFO)[:@ ]|JFIF revision|libpng |TIFF|(Corrupt|Premature|Invalid|Unsupported|Bogus).*JPEG", re.I
)
_STDERR = threading.Lock()


def rgb_from_compressed(message: CompressedImage) -> np.ndarray:
    """Return the frame as uint8 RGB `(H, W, 3)`; EXIF rotation is ignored: pixels stay the camera's.

    A single plane whose format names a Bayer pattern, and no other encoding that it was converted to, is demosaiced.

    Raises:
        BadFrame: if the data is neither JPEG, PNG nor TIFF, is cut short, or does not decode.
    """
    data = _whole(bytes(message.data), message.format)
    pixels = to_8_bits(_decoded(data, message.format))
    if pixels.ndim == 2:
        mosaic = ENCODINGS.get(_mosaic(message.format))
        if mosaic is not None:
            return mosaic.to_rgb(pixels[..., np.newaxis])
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _mosaic(stated_format: str) -> str:
    """Return the Bayer encoding that a format such as `bayer_rggb8; jpeg compressed` gives the pixels, else nothing.

    Since Humble, image_transport converts mosaics first, and says so: `bayer_rggb8; jpeg compressed mono8`.
    """
    match = _MOSAIC.fullmatch(stated_format)
    return match[1] if match and match[2] in ("", match[1]) else ""


def _decoded(data: bytes, stated_format: str) -> np.ndarray:
    """Return the pixels, BGR `(H, W, 3)` or one plane `(H, W)`; with all their bits where the format names a mosaic."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if _mosaic(stated_format):
        flags = cv2.IMREAD_UNCHANGED
    try:
        with _without_library_lines():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadFrame(f"holds {len(data)} bytes that do not decode: {error.err}") from error
    if pixels is None:
        raise BadFrame(f"holds {len(data)} bytes that do not decode as {stated_format!r}")
    return pixels[..., :3] if pixels.ndim == 3 else pixels


def _whole(data: bytes, stated_format: str) -> bytes:
    """Return the picture without what lies behind its end: decoders fill what is missing with grey, without a word."""
    if data.startswith(_JPEG_START):
        end = _jpeg_end(data)
    elif data.startswith(PNG_SIGNATURE):
        end = png_end(data)
    elif data.startswith(_TIFF_STARTS):
        end = len(data)
    else:
        raise BadFrame(f"is neither JPEG, PNG nor TIFF (its format says {stated_format!r})")
    if not end:
        raise BadFrame("is truncated: the end mark of its JPEG or PNG data is missing")
    return data[:end]


def _jpeg_end(data: bytes) -> int:
    """Return where the JPEG ends, 0 if it does not: a thumbnail in its header has an end of its own."""
    at = 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        if marker[1] == _JPEG_END[1:]:
            return marker.end()
        length = data[marker.end() : marker.end() + 2]
        if len(length) < 2:
            break
        at = marker.end() + struct.unpack(">H", length)[0]
    stripped = data.rstrip(b"\0")
    return len(stripped) if stripped.endswith(_JPEG_END) else 0


@contextmanager
def _without_library_lines() -> Iterator[None]:
    """Keep libraries, which write to the process's stderr at every bad picture, from flooding the log.

    What others write meanwhile appears, a moment later.
    """
    if not hasattr(os, "memfd_create"):  # not Linux
        yield
        return
    with _STDERR, open(os.memfd_create("stderr"), "w+b") as caught:
        stderr = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if caught.seek(0, os.SEEK_END):
                caught.seek(0)
                os.write(2, b"".join(line for line in caught if line.strip() and not _LIBRARY_LINES.search(line)))
