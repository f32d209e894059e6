"""Every encoding, size and fault of an image message, against what the pixels must be."""

from __future__ import annotations

import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from engines import expected_labels
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from querydiff_core.inference.segmenter import Segmenter
from querydiff_ros.common.compressed_images import rgb_from_compressed
from querydiff_ros.common.image_conversions import (
    ENCODINGS,
    BadFrame,
    ImageBuffer,
    holds_16_bits,
    image_message,
    jpeg_message,
    rgb_from_image,
)

BAYER = [name for name in ENCODINGS if name.startswith("bayer")]
CHROMA_SHARED = ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"]
EXACT = [name for name in ENCODINGS if name not in BAYER + CHROMA_SHARED]
"""Encodings that keep every pixel as it is; the others interpolate or convert colour."""

COLOR = (93, 141, 37)
LARGE = [(3000, 4000), (4, 4000), (3998, 2)]
sizes = st.one_of(  # any height and any width up to the largest camera's, but not both large: LARGE has those
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 3000), st.integers(1, 20)),
    st.tuples(st.integers(1, 20), st.integers(1, 4000)),
)


def pack(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """Return `rgb` (H, W, 3) as the rows of bytes that a camera would send, written from each encoding's definition."""
    if encoding in BAYER:
        pattern, bits = encoding.removeprefix("bayer_")[:4], int(encoding[10:])
        mosaic = np.zeros(rgb.shape[:2], np.uint8)
        for place, channel in enumerate(pattern):
            rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
            mosaic[rows, columns] = rgb[rows, columns, "rgb".index(channel)]
        return rows_of(widen(mosaic, bits))
    if encoding in CHROMA_SHARED:
        return pack_chroma(rgb, encoding)
    if encoding.startswith("32F"):
        values = rgb[..., ::-1] if encoding == "32FC3" else rgb[..., :1]
        return rows_of((values / np.float32(255)).astype("<f4"))
    bits = 16 if "16" in encoding else 8
    alpha = np.full((*rgb.shape[:2], 1), 7, np.uint8)
    order = {"rgb": [0, 1, 2], "bgr": [2, 1, 0], "rgba": [0, 1, 2, 3], "bgra": [2, 1, 0, 3], "mono": [0]}
    name = {f"{bits}UC1": "mono", f"{bits}UC3": "bgr", f"{bits}UC4": "bgra"}.get(
        encoding, encoding.rstrip("0123456789")
    )
    return rows_of(widen(np.concatenate([rgb, alpha], axis=2)[..., order[name]], bits))


def pack_chroma(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """One colour everywhere, so that sharing chroma changes nothing."""
    red, green, blue = rgb[0, 0].astype(float)
    y = round(16 + 0.257 * red + 0.504 * green + 0.098 * blue)
    u = round(128 - 0.148 * red - 0.291 * green + 0.439 * blue)
    v = round(128 + 0.439 * red - 0.368 * green - 0.071 * blue)
    height, width = rgb.shape[:2]
    if encoding.startswith("nv"):
        chroma = [u, v] if encoding == "nv12" else [v, u]
        return np.vstack([np.full((height, width), y), np.tile(chroma, (height // 2, width // 2))]).astype(np.uint8)
    pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
    return np.tile(pair, (height, (width + 1) // 2))[:, : 2 * width].astype(np.uint8)


def widen(values: np.ndarray, bits: int) -> np.ndarray:
    return values if bits == 8 else (values.astype("<u2") << 8) + 99


def rows_of(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)


def message_of(rgb: np.ndarray, encoding: str, padding: int = 0) -> Image:
    rows = np.pad(pack(rgb, encoding), ((0, 0), (0, padding)), constant_values=211)
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding=encoding, step=rows.shape[1])
    message.data = array.array("B", rows.tobytes())
    return message


def random_rgb(height: int, width: int, gray: bool) -> np.ndarray:
    rgb = np.random.default_rng(height * 5000 + width).integers(0, 256, (height, width, 3), np.uint8)
    return np.repeat(rgb[..., :1], 3, axis=2) if gray else rgb


@pytest.fixture(scope="module")
def segmenter(pixel_engine: Path) -> Segmenter:
    return Segmenter.load(pixel_engine, threads=1)


@pytest.mark.parametrize("encoding", EXACT)
@settings(deadline=None, max_examples=12)
@given(size=sizes, padding=st.integers(0, 5))
@example(size=(1, 1), padding=0)
@example(size=(1, 1), padding=3)
def test_labels_of_exact_encodings(segmenter: Segmenter, encoding: str, size: tuple[int, int], padding: int) -> None:
    gray = encoding.startswith("mono") or encoding.endswith("C1")
    rgb = random_rgb(*size, gray)
    seen = rgb_from_image(message_of(rgb, encoding, padding))
    np.testing.assert_array_equal(seen, rgb)
    result = segmenter(seen)
    np.testing.assert_array_equal(result.labels, expected_labels(rgb))
    np.testing.assert_array_equal(result.confidence, rgb[..., 1])


@pytest.mark.parametrize("encoding", BAYER + CHROMA_SHARED)
@settings(deadline=None, max_examples=12)
@given(size=sizes, padding=st.integers(0, 5))
@example(size=(2, 2), padding=1)
def test_labels_of_interpolated_encodings(
    segmenter: Segmenter, encoding: str, size: tuple[int, int], padding: int
) -> None:
    height, width = (2 * size[0], 2 * size[1]) if ENCODINGS[encoding].even else size
    rgb = np.full((height, width, 3), COLOR, np.uint8)
    seen = rgb_from_image(message_of(rgb, encoding, padding))
    assert segmenter(seen).labels.shape == (height, width)
    colors_complete = min(height, width) > 1  # one row of a mosaic lacks a colour, one pixel of 4:2:2 half its chroma
    if colors_complete:
        assert np.abs(seen.astype(int) - COLOR).max() <= 3


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("size", LARGE)
def test_labels_of_large_frames(segmenter: Segmenter, encoding: str, size: tuple[int, int]) -> None:
    seen = rgb_from_image(message_of(np.full((*size, 3), 133, np.uint8), encoding, padding=1))
    labels = segmenter(seen).labels
    assert labels.shape == size
    np.testing.assert_array_equal(labels, expected_labels(seen))


def test_rgb8_is_viewed_not_copied() -> None:
    message = message_of(random_rgb(4, 5, gray=False), "rgb8", padding=1)
    seen = rgb_from_image(message)
    message.data[0] = (int(message.data[0]) + 1) % 256
    assert seen[0, 0, 0] == message.data[0]


@pytest.mark.parametrize("encoding", ["rgb16", "mono16", "32FC1", "32FC3", "bayer_gbrg16"])
def test_big_endian_values_are_swapped(encoding: str) -> None:
    rgb = np.full((6, 4, 3), 133, np.uint8)
    message = message_of(rgb, encoding)
    kind = "f4" if "32F" in encoding else "u2"
    message.data = array.array("B", np.frombuffer(message.data, f"<{kind}").astype(f">{kind}").tobytes())
    message.is_bigendian = 1
    np.testing.assert_array_equal(rgb_from_image(message), rgb)


def good() -> Image:
    return message_of(random_rgb(6, 8, gray=False), "rgb8")


def truncated(message: Image) -> None:
    message.data = message.data[:-1]


def empty(message: Image) -> None:
    message.data = array.array("B")


def oversized(message: Image) -> None:
    message.data = message.data + array.array("B", b"x")


def floats(value: float) -> Callable[[Image], None]:
    def make(message: Image) -> None:
        pixels = np.zeros((6, 8), np.float32)
        pixels[3, 4] = value
        message.encoding, message.step, message.data = "32FC1", 32, array.array("B", pixels.tobytes())

    return make


def fields(**values: Any) -> Callable[[Image], None]:
    return lambda message: [setattr(message, name, value) for name, value in values.items()] and None


BAD_IMAGES = {
    "truncated": (truncated, "is truncated: 143 bytes, but 6 rows of 24 bytes make 144"),
    "empty": (empty, "is truncated: 0 bytes"),
    "oversized": (oversized, "is oversized: 145 bytes"),
    "step too small": (fields(step=23), "has a step of 23 bytes, but 8 rgb8 pixels take 24"),
    "step zero": (fields(step=0), "has a step of 0 bytes"),
    "no height": (fields(height=0), "has no pixels: 8 x 0"),
    "no width": (fields(width=0), "has no pixels: 0 x 6"),
    "giant size": (fields(width=2**32 - 1, height=2**32 - 1), "has a step of 24 bytes"),
    "unknown encoding": (fields(encoding="rgb9"), "has the unknown encoding 'rgb9'; expected one of"),
    "no encoding": (fields(encoding=""), "has the unknown encoding ''"),
    "wider encoding": (fields(encoding="rgb16"), "has a step of 24 bytes, but 8 rgb16 pixels take 48"),
    "odd 4:2:0": (fields(encoding="nv12", width=7), "is 7 x 6, but nv12 needs an even width and height"),
    "NaN": (floats(float("nan")), "holds NaN or infinite values"),
    "infinity": (floats(float("-inf")), "holds NaN or infinite values"),
    "metres": (floats(7.5), "holds values from 0 to 7.5: floats must lie in 0 to 1"),
}


@pytest.mark.parametrize("fault", BAD_IMAGES)
def test_bad_images_are_refused_with_a_reason(fault: str) -> None:
    spoil, reason = BAD_IMAGES[fault]
    message = good()
    spoil(message)
    with pytest.raises(BadFrame) as refusal:
        rgb_from_image(message)
    assert reason in str(refusal.value)


def encoded(suffix: str, image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(suffix, image)[1].tobytes())


SMOOTH = cv2.resize(random_rgb(4, 6, gray=False), (60, 40), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("size", [(1, 1), (40, 60), (30, 4000)])
@pytest.mark.parametrize(("suffix", "tolerance"), [(".png", 0), (".jpg", 24)])
def test_compressed_frames_open_as_rgb(size: tuple[int, int], suffix: str, tolerance: int) -> None:
    rgb = np.resize(SMOOTH, (*size, 3)) if suffix == ".png" else cv2.resize(SMOOTH, size[::-1])
    data = encoded(suffix, rgb[..., ::-1])
    seen = rgb_from_compressed(CompressedImage(format="x", data=array.array("B", data)))
    assert seen.shape == rgb.shape
    assert np.abs(seen.astype(int) - rgb).mean() <= tolerance


def test_png_of_16_bits_keeps_its_upper_half() -> None:
    rgb = random_rgb(5, 7, gray=False)
    data = encoded(".png", widen(rgb[..., ::-1], 16))
    message = CompressedImage(data=array.array("B", data))
    np.testing.assert_array_equal(rgb_from_compressed(message), rgb)
    assert holds_16_bits(message)
    assert not any(holds_16_bits(CompressedImage(data=array.array("B", other))) for other in (PNG, JPEG, b""))


JPEG, PNG = encoded(".jpg", SMOOTH), encoded(".png", SMOOTH)
BAD_COMPRESSED = {
    "nothing": (b"", "is neither JPEG, PNG nor TIFF"),
    "text": (b"not an image", "is neither JPEG, PNG nor TIFF (its format says 'jpeg')"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "is truncated"),
    "half a PNG": (PNG[: len(PNG) // 2], "is truncated"),
    "JPEG marks alone": (b"\xff\xd8\xff" + b"\x12" * 40 + b"\xff\xd9", "do not decode"),
    "PNG with a chunk longer than it": (PNG[:8] + b"\x12" * 40 + PNG[-12:], "is truncated"),
    "PNG marks alone": (PNG[:8] + PNG[-12:], "do not decode"),
}


@pytest.mark.parametrize("fault", BAD_COMPRESSED)
def test_bad_compressed_frames_are_refused_with_a_reason(fault: str) -> None:
    data, reason = BAD_COMPRESSED[fault]
    with pytest.raises(BadFrame) as refusal:
        rgb_from_compressed(CompressedImage(format="jpeg", data=array.array("B", data)))
    assert reason in str(refusal.value)


def test_jpeg_padded_with_zeros_is_whole() -> None:
    assert rgb_from_compressed(CompressedImage(data=array.array("B", JPEG + b"\0" * 100))).shape == SMOOTH.shape


@given(data=st.binary(max_size=300), head=st.sampled_from([b"", JPEG[:200], PNG[:60]]))
@settings(deadline=None, max_examples=60)
def test_any_bytes_give_an_image_or_a_reason(data: bytes, head: bytes) -> None:
    try:
        image = rgb_from_compressed(CompressedImage(data=array.array("B", head + data)))
    except BadFrame:
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


def test_image_messages_hold_the_pixels_and_the_header() -> None:
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    header = good().header
    message = image_message(labels, "mono8", header)
    assert (message.height, message.width, message.step, message.encoding) == (3, 4, 4, "mono8")
    assert message.header is header
    assert bytes(message.data) == labels.tobytes()
    transposed = image_message(labels.T, "mono8", header)  # not contiguous
    assert bytes(transposed.data) == labels.T.tobytes()


def test_an_image_buffer_sends_what_was_written_last_under_the_header_given() -> None:
    buffer, headers = ImageBuffer("rgb8"), [good().header for _ in range(3)]
    sizes = [(3, 4, 3), (3, 4, 3), (5, 2, 3)]
    for shade, (size, header) in enumerate(zip(sizes, headers, strict=True)):
        pixels = np.full(size, shade, np.uint8)
        pixels[0, 1] = 200
        message = buffer.filled(pixels, header)
        assert (message.height, message.width, message.step, message.encoding) == (*size[:2], 3 * size[1], "rgb8")
        assert message.header is header
        assert bytes(message.data) == pixels.tobytes()
        buffer.pixels(size)[-1, -1] = 77  # in place
        assert bytes(buffer.message(header).data)[-3:] == bytes([77] * 3)


def test_jpeg_messages_open_again() -> None:
    seen = rgb_from_compressed(jpeg_message(SMOOTH, good().header))
    assert np.abs(seen.astype(int) - SMOOTH).mean() < 24
