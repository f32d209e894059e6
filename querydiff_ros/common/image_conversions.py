"""Between ROS image messages and arrays: every frame becomes uint8 RGB, or is refused with a reason."""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from querydiff_core.utils.image_files import PNG_SIGNATURE, encode_jpeg


class BadFrame(Exception):  # noqa: N818 - a verdict on the input, not an error of ours
    """Why a frame cannot be used, as the end of a sentence that starts with its topic."""


@dataclass(frozen=True)
class Encoding:
    """How one `Image.encoding` stores a pixel, and how pixels become RGB.

    `dtype`: of one stored value. `channels`: stored values per pixel. `to_rgb`: uint8 `(H, W, channels)` to
    `(H, W, 3)`. `even`: the size that chroma is shared over, so that width and height must be multiples of 2.
    """

    dtype: str
    channels: int
    to_rgb: Callable[[np.ndarray], np.ndarray]
    even: bool = False

    def rows(self, height: int) -> int:
        """Return the rows stored for `height` image rows: half as many again where chroma follows in its own plane."""
        return height * 3 // 2 if self.even else height


def rgb_from_image(message: Image) -> np.ndarray:
    """Return the frame as uint8 RGB `(H, W, 3)`; for `rgb8` a view of the message, no copy.

    16-bit values keep their upper 8 bits; floats must lie in 0 to 1. Encodings that are not in `ENCODINGS` go through
    `cv_bridge` where it is installed.

    Raises:
        BadFrame: if size, `step`, data or encoding disagree, or floats are NaN or out of range.
    """
    _refuse_empty(message)
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        return _through_cv_bridge(message)
    return encoding.to_rgb(to_8_bits(stored_pixels(message, encoding)))


def holds_16_bits(message: Image | CompressedImage) -> bool:
    """Return whether the values of `message` have 16 bits each, by its encoding or its PNG header."""
    if isinstance(message, CompressedImage):
        head = bytes(message.data[:25])
        return head.startswith(PNG_SIGNATURE) and head[24:] == b"\x10"
    encoding = ENCODINGS.get(message.encoding)
    return encoding is not None and encoding.dtype == "u2"


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Return values as uint8: the upper 8 bits of 16, floats of 0 to 1 times 255.

    Raises:
        BadFrame: if floats are NaN or out of range.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "u":
        return (pixels >> 8).astype(np.uint8)
    if not np.isfinite(pixels).all():
        raise BadFrame("holds NaN or infinite values: floats must lie in 0 to 1")
    if pixels.min() < 0 or pixels.max() > 1:
        raise BadFrame(f"holds values from {pixels.min():.4g} to {pixels.max():.4g}: floats must lie in 0 to 1")
    return np.rint(pixels * 255).astype(np.uint8)


def mono8_pixels(message: Image) -> np.ndarray:
    """Return the values of a `mono8` message, such as labels, as uint8 `(H, W)`: a view, no copy.

    Raises:
        BadFrame: if it has another encoding, or its size, `step` and data disagree.
    """
    if message.encoding != "mono8":
        raise BadFrame(f"has encoding {message.encoding!r}: expected mono8 from segment_node")
    return stored_pixels(message, ENCODINGS["mono8"])[..., 0]


def mono8_images(messages: Mapping[str, Image]) -> list[np.ndarray]:
    """Return the values of `mono8` messages of one moment, label and confidence say, by topic; see `mono8_pixels`.

    Raises:
        BadFrame: if one is unsound or they differ in size; the reason names the topics.
    """
    images = []
    for topic, message in messages.items():
        try:
            images.append(mono8_pixels(message))
        except BadFrame as reason:
            raise BadFrame(f"{topic} {reason}") from reason
    if len({image.shape for image in images}) > 1:
        sizes = [f"{topic} is {message.width} x {message.height}" for topic, message in messages.items()]
        raise BadFrame(f"{' and '.join(sizes)}: both must come from one segment_node")
    return images


def image_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """Return uint8 `pixels` `(H, W)` or `(H, W, C)` as an `Image`, with `header` as it is."""
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding, step=pixels.nbytes // height)
    message.data = byte_array(np.ascontiguousarray(pixels))
    return message


class ImageBuffer:
    """One `Image` that is written and sent again and again: fresh pages of 6 MB take longer than what fills them."""

    def __init__(self, encoding: str) -> None:
        self._message = Image(encoding=encoding)
        self._pixels: np.ndarray = np.empty((0, 0), np.uint8)

    def pixels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the message's pixels, uint8 of `shape` `(H, W)` or `(H, W, C)`, to be written."""
        if self._pixels.shape != shape:
            blank = image_message(np.zeros(shape, np.uint8), self._message.encoding, self._message.header)
            self._message, self._pixels = blank, np.frombuffer(blank.data, np.uint8).reshape(shape)
        return self._pixels

    def message(self, header: Header) -> Image:
        """Return the message, under `header`; it is good until pixels are written again."""
        self._message.header = header
        return self._message

    def filled(self, pixels: np.ndarray, header: Header) -> Image:
        """Return the message with a copy of `pixels`."""
        np.copyto(self.pixels(pixels.shape), pixels)
        return self.message(header)


def jpeg_message(rgb: np.ndarray, header: Header) -> CompressedImage:
    """Return uint8 RGB `(H, W, 3)` as a JPEG `CompressedImage`, with `header` as it is."""
    return CompressedImage(header=header, format="rgb8; jpeg compressed bgr8", data=byte_array(encode_jpeg(rgb)))


def byte_array(data: np.ndarray) -> array.array[int]:
    """Return the bytes of contiguous `data` as a message holds them."""
    # Through a buffer: array("B", ndarray) and assigning an ndarray both walk the elements one by one.
    copied = array.array("B")
    copied.frombytes(data.data)
    return copied


def stored_pixels(message: Image, encoding: Encoding) -> np.ndarray:
    """Return the values of `message` as they are, `(H, W, channels)`; a view where they have 8 bits.

    Raises:
        BadFrame: if there are no pixels, or size, `step` and data disagree.
    """
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if message.is_bigendian else "<")
    _check_layout(message, encoding, dtype.itemsize)
    rows, used = encoding.rows(message.height), message.width * encoding.channels * dtype.itemsize
    stored = np.frombuffer(message.data, np.uint8).reshape(rows, message.step)[:, :used]  # what follows is padding
    if dtype.itemsize > 1:
        stored = np.ascontiguousarray(stored).view(dtype)
    return stored.reshape(rows, message.width, encoding.channels)


def _refuse_empty(message: Image) -> None:
    if not (message.height and message.width):
        raise BadFrame(f"has no pixels: {message.width} x {message.height}")


def _check_layout(message: Image, encoding: Encoding, item_size: int) -> None:
    _refuse_empty(message)
    width, height, step = message.width, message.height, message.step
    needed = width * encoding.channels * item_size
    if encoding.even and (width % 2 or height % 2):
        raise BadFrame(f"is {width} x {height}, but {message.encoding} needs an even width and height")
    if step < needed:
        raise BadFrame(f"has a step of {step} bytes, but {width} {message.encoding} pixels take {needed}")
    expected = encoding.rows(height) * step
    if len(message.data) != expected:
        fault = "is truncated" if len(message.data) < expected else "is oversized"
        raise BadFrame(f"{fault}: {len(message.data)} bytes, but {height} rows of {step} bytes make {expected}")


def _through_cv_bridge(message: Image) -> np.ndarray:
    try:
        from cv_bridge import CvBridge
    except Exception as error:  # built against another numpy, its import fails in many ways
        known = ", ".join(sorted(ENCODINGS))
        raise BadFrame(f"has the unknown encoding {message.encoding!r}; expected one of {known}") from error
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, "rgb8"))
    except Exception as error:
        raise BadFrame(f"has encoding {message.encoding!r}, which cv_bridge refuses: {error}") from error


def _by_opencv(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _demosaic(code: int) -> Callable[[np.ndarray], np.ndarray]:
    def to_rgb(mosaic: np.ndarray) -> np.ndarray:
        if min(mosaic.shape[:2]) >= 3:
            return cv2.cvtColor(mosaic, code)
        # OpenCV answers black below 3 x 3: reflect, which keeps every colour in its place of the mosaic.
        return cv2.cvtColor(np.pad(mosaic[..., 0], 2, mode="reflect"), code)[2:-2, 2:-2]

    return to_rgb


def _packed_422(code: int) -> Callable[[np.ndarray], np.ndarray]:
    def to_rgb(pixels: np.ndarray) -> np.ndarray:
        width = pixels.shape[1]
        if width % 2:  # the last pixel lacks a partner: take chroma from the pair before, or grey
            partner = pixels[:, -2:-1] if width > 1 else np.full_like(pixels, 128)
            pixels = np.concatenate([pixels, partner], axis=1)
        return cv2.cvtColor(np.ascontiguousarray(pixels), code)[:, :width]

    return to_rgb


def _planar_420(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda planes: cv2.cvtColor(np.ascontiguousarray(planes[..., 0]), code)


def _encodings() -> dict[str, Encoding]:
    rgb, bgr = (lambda pixels: pixels), _by_opencv(cv2.COLOR_BGR2RGB)
    rgba, bgra = _by_opencv(cv2.COLOR_RGBA2RGB), _by_opencv(cv2.COLOR_BGRA2RGB)
    mono = _by_opencv(cv2.COLOR_GRAY2RGB)
    table = {"32FC1": Encoding("f4", 1, mono), "32FC3": Encoding("f4", 3, bgr)}
    for bits, dtype in ((8, "u1"), (16, "u2")):
        table |= {f"{name}{bits}": Encoding(dtype, 3, to) for name, to in (("rgb", rgb), ("bgr", bgr))}
        table |= {f"{name}{bits}": Encoding(dtype, 4, to) for name, to in (("rgba", rgba), ("bgra", bgra))}
        table |= {name: Encoding(dtype, 1, mono) for name in (f"mono{bits}", f"{bits}UC1")}
        table |= {f"{bits}UC3": Encoding(dtype, 3, bgr), f"{bits}UC4": Encoding(dtype, 4, bgra)}  # OpenCV's order
        for pattern in ("rggb", "bggr", "gbrg", "grbg"):
            code = getattr(cv2, f"COLOR_Bayer{pattern.upper()}2RGB")
            table[f"bayer_{pattern}{bits}"] = Encoding(dtype, 1, _demosaic(code))
    for name in ("yuv422", "uyvy"):
        table[name] = Encoding("u1", 2, _packed_422(cv2.COLOR_YUV2RGB_UYVY))
    for name in ("yuv422_yuy2", "yuyv"):
        table[name] = Encoding("u1", 2, _packed_422(cv2.COLOR_YUV2RGB_YUY2))
    table["nv12"] = Encoding("u1", 1, _planar_420(cv2.COLOR_YUV2RGB_NV12), even=True)
    table["nv21"] = Encoding("u1", 1, _planar_420(cv2.COLOR_YUV2RGB_NV21), even=True)
    return table


ENCODINGS = _encodings()
"""Every `Image.encoding` that is read without `cv_bridge`."""
