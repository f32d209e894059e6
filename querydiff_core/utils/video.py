"""Read any video and write H.264 that browsers play."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.utils.atomic_file import atomic_file


def read_video(path: Path) -> tuple[Fraction, Iterator[np.ndarray]]:
    """Return the frame rate and the frames, uint8 RGB `(H, W, 3)`, decoded one at a time and turned as players do.

    Raises:
        QueryDiffError: if the file cannot be opened, has no video, or breaks off before its first frame.
    """
    container = _opened(path)
    return container.streams.video[0].average_rate or Fraction(10), _frames(container, path)


def video_length(path: Path) -> int | None:
    """Return the number of frames that a video says it has, None if it does not say.

    Raises:
        QueryDiffError: if the file cannot be opened or has no video.
    """
    with _opened(path) as container:
        return container.streams.video[0].frames or None


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float | Fraction, quality: int = 21) -> int:
    """Write `frames`, uint8 RGB `(H, W, 3)` of one size, as H.264 in MP4, and return how many there were.

    `quality`: x264's constant rate factor, 0 (lossless) to 51. An odd last row or column is cut: 4:2:0 needs pairs.
    The file is written completely or not at all.
    """
    rest = iter(frames)
    if (first := next(rest, None)) is None:
        raise QueryDiffError(f"No frames for the video {path}.")
    try:
        with atomic_file(path) as temporary:
            return _write(temporary, first, rest, rate, quality)
    except av.error.FFmpegError as error:
        raise QueryDiffError(f"Cannot write the video {path}: {error}.") from error


def _write(path: Path, first: np.ndarray, rest: Iterator[np.ndarray], rate: float | Fraction, quality: int) -> int:
    height, width = (side // 2 * 2 for side in first.shape[:2])
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", Fraction(rate).limit_denominator(1000), {"crf": str(quality)})
        stream.pix_fmt, stream.height, stream.width = "yuv420p", height, width
        count = 0
        for image in itertools.chain((first,), rest):
            even = np.ascontiguousarray(image[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
            count += 1
        container.mux(stream.encode(None))
    return count


def _opened(path: Path) -> av.container.InputContainer:
    with explained(f"{path} cannot be opened as a video: {{reason}}.", av.error.FFmpegError, OSError):
        container = av.open(str(path))
    if not container.streams.video:
        container.close()
        raise QueryDiffError(f"{path} holds no video.")
    return container


def _frames(container: av.container.InputContainer, path: Path) -> Iterator[np.ndarray]:
    count = 0
    with container:
        try:
            for frame in container.decode(video=0):
                quarter_turns = round(frame.rotation / 90)  # as a phone that was held upright says
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns))
                count += 1
        except av.error.FFmpegError as error:
            raise QueryDiffError(f"{path} breaks off after {count} frames: {error}.") from error
