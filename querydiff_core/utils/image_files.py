"""Read and write image files: RGB in memory, complete files on disk."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.utils.atomic_file import atomic_file

if TYPE_CHECKING:
    from PIL.Image import Image

JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ORIENTATION_TAG = 0x0112
UPRIGHT = 1

if hasattr(cv2.utils, "logging"):  # what is wrong with a file is said in our sentence
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
else:  # OpenCV 4.5 to 4.8, which Ubuntu has
    cv2.setLogLevel(0)  # type: ignore[attr-defined]  # 5 has none


class UnknownImageError(QueryDiffError):
    """A file that cannot be decoded."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} cannot be decoded as an image: it is damaged or of an unknown format.")


class ImageHead(NamedTuple):
    """What an image file says before its pixels.

    Attributes:
        size: (height, width) in pixels, as stored.
        orientation: how to show what is stored, 1 to 8 as in EXIF; 1 is as it is.
        lossy: the format changes values, as JPEG does.
    """

    size: tuple[int, int]
    orientation: int = UPRIGHT
    lossy: bool = False


def read_image(path: Path) -> np.ndarray:
    """Return the image as uint8 RGB `(H, W, 3)`, turned as its orientation tag says: as viewers show it.

    Raises:
        QueryDiffError: if the file cannot be read or decoded, is truncated or too large.
    """
    return upright(*read_stored_image(path))


def read_stored_image(path: Path) -> tuple[np.ndarray, int]:
    """Return the image as uint8 RGB `(H, W, 3)` as it is stored, and its orientation tag.

    Raises:
        QueryDiffError: as `read_image`.
    """
    pixels, head = decode(path, read_bytes(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), head.orientation


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return `image` `(H, W, C)` turned and mirrored as an orientation of 1 to 8 asks for."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        QueryDiffError: if the system refuses them.
    """
    with explained(f"{path} cannot be read: {{reason}}.", OSError):
        return path.read_bytes()


def decode(path: Path, data: bytes, flags: int) -> tuple[np.ndarray, ImageHead]:
    """Return the pixels of an image file's `data` as OpenCV decodes them by `flags`, and its head.

    OpenCV never opens the file `path` itself: it takes damaged JPEGs for whole and dies of names that are no UTF-8.

    Raises:
        QueryDiffError: if they cannot be decoded, or are damaged or too large.
    """
    try:
        head = image_head(path, data)
    except UnknownImageError:  # OpenCV reads some TIFFs that Pillow does not know
        head = None
    if data.startswith(JPEG_START) and not _ends(data):
        raise QueryDiffError(f"{path} cannot be decoded as an image: it is damaged, a truncated JPEG.")
    if data.startswith(JPEG_START) and _breaks_off(data):
        raise QueryDiffError(f"{path} cannot be decoded as an image: it is damaged inside.")
    if data.startswith(PNG_SIGNATURE) and not png_end(data):
        raise QueryDiffError(f"{path} cannot be decoded as an image: it is damaged, a truncated PNG.")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # such as no data at all
        pixels = None
    if pixels is None:
        raise UnknownImageError(path)
    return pixels, head or ImageHead(pixels.shape[:2])


def png_end(data: bytes) -> int:
    """Return where the PNG ends, 0 if it does not: for a chunk that claims gigabytes OpenCV would take them."""
    at, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            return 0
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
    return at if at <= len(data) else 0


def image_head(path: Path, data: bytes | None = None) -> ImageHead:
    """Return what the head of an image file says; nothing is decoded.

    Args:
        path: of the file.
        data: its bytes, if they were read before.

    Raises:
        QueryDiffError: if the file cannot be read, is no image or too large.
    """
    with opened(path, data) as image:
        # Asked for what the head does not have, Pillow decodes a whole PNG; TIFFs are turned by every decoder itself.
        tag: Any = image.getexif().get(ORIENTATION_TAG) if "exif" in image.info else UPRIGHT
        return ImageHead((image.height, image.width), tag if tag in range(1, 9) else UPRIGHT, _is_lossy(image))


@contextmanager
def opened(path: Path, data: bytes | None = None) -> Iterator[Image]:
    """Yield the file as Pillow opens it, and turn its many errors into a sentence.

    Raises:
        QueryDiffError: if the file cannot be read, is no image or too large.
    """
    from PIL import Image, UnidentifiedImageError

    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # half of what is too large is not
    try:
        with Image.open(path if data is None else io.BytesIO(data)) as image:
            yield image
    except QueryDiffError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise QueryDiffError(f"{path} is too large: it says that it has more than {most:,} pixels.") from error
    except Exception as error:  # Pillow has no class of its own for what is wrong with a file
        if isinstance(error, OSError) and not isinstance(error, UnidentifiedImageError) and error.strerror:
            raise QueryDiffError(f"{path} cannot be read: {error.strerror}.") from error
        raise UnknownImageError(path) from error


def encode_jpeg(image: np.ndarray, quality: int = 95) -> np.ndarray:
    """Return uint8 RGB `image` `(H, W, 3)` as the bytes of a JPEG file, uint8 `(N,)`."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(data, np.uint8).reshape(-1)


def write_image(path: Path, image: np.ndarray, options: Sequence[int] = (cv2.IMWRITE_JPEG_QUALITY, 92)) -> None:
    """Write uint8 labels `(H, W)` or RGB `(H, W, 3)` in the format that the suffix names, completely or not at all.

    `options`: of OpenCV's encoder, keys and values in turn.

    Raises:
        QueryDiffError: if the suffix is of no format, or the file cannot be written.
    """
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    with explained(f"Cannot write {path}: {path.suffix or 'no suffix'} is no image format.", cv2.error):
        _, data = cv2.imencode(path.suffix, pixels, list(options))
    with atomic_file(path) as temporary:
        temporary.write_bytes(data.tobytes())


def _ends(jpeg: bytes) -> bool:
    """Return whether a JPEG holds its end mark; an embedded thumbnail's, before the scan, does not count."""
    at = len(JPEG_START)
    while jpeg[at : at + 1] == b"\xff" and jpeg[at + 1 : at + 2] != bytes([JPEG_SCAN]):
        at += 1 if jpeg[at + 1 : at + 2] == b"\xff" else 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return JPEG_END in jpeg[at:]


def _breaks_off(jpeg: bytes) -> bool:
    """Return whether FFmpeg, told to stop at it, finds codes of pixels that are impossible or missing.

    Damage that happens to be possible codes goes unnoticed, and what FFmpeg does not know is left to OpenCV.
    """
    import av

    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        decoder.decode(av.Packet(jpeg))
    except av.error.InvalidDataError:
        return True
    except av.error.FFmpegError:
        pass
    return False


def _is_lossy(image: Image) -> bool:
    if image.format == "WEBP":
        file: Any = image.fp  # type: ignore[attr-defined]
        file.seek(0)
        return b"VP8L" not in file.read(64)
    return image.format in ("JPEG", "MPO", "JPEG2000", "AVIF") or "jpeg" in str(image.info.get("compression"))


def fit_into(box: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return `size` (height, width) enlarged or shrunk until it fills `box`, either way up, keeping its ratio.

    This is `keep_ratio` of mmsegmentation: 3024 x 4032 fits into 512 x 1024 as 512 x 683.
    """
    factor = min(max(box) / max(size), min(box) / min(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
