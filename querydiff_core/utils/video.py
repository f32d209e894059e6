"""Read any video and write H.264 that browsers play."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.utils.atomic_file import atomic_file


def read_video(path: Path) -> tuple[Fraction, Iterator[np.ndarray]]:
    """Return the frame rate and the frames, uint8 RGB `(H, W, 3)`, decoded one at a time.

    Raises:
        QueryDiffError: if the file cannot be opened, has no video, or breaks off before its first frame.
    """
    with explained(f"{path} cannot be opened as a video: {{reason}}.", av.error.FFmpegError, OSError):
        container = av.open(str(path))
    if not container.streams.video:
        raise QueryDiffError(f"{path} holds no video.")
    return container.streams.video[0].average_rate or Fraction(10), _frames(container, path)


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float | Fraction, quality: int = 21) -> int:
    """Write `frames`, uint8 RGB `(H, W, 3)` of one size, as H.264 in MP4, and return how many there were.

    `quality`: x264's constant rate factor, 0 (lossless) to 51. An odd last row or column is cut: 4:2:0 needs pairs.
    The file is written completely or not at all.
    """
    count = 0
    with atomic_file(path) as temporary, av.open(str(temporary), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", Fraction(rate).limit_denominator(1000), {"crf": str(quality)})
        stream.pix_fmt = "yuv420p"
        for count, image in enumerate(frames, 1):
            even = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
            if count == 1:
                stream.height, stream.width = even.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        if not count:
            raise QueryDiffError(f"No frames for the video {path}.")
        container.mux(stream.encode(None))
    return count


def _frames(container: av.container.InputContainer, path: Path) -> Iterator[np.ndarray]:
    count = 0
    with container:
        try:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
                count += 1
        except av.error.FFmpegError as error:
            raise QueryDiffError(f"{path} breaks off after {count} frames: {error}.") from error
