"""Make the README's moving picture of the demo's video: python docs/images/moving_picture.py build/demo/overlay.mp4."""

import sys
from pathlib import Path

from PIL import Image

from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.video import read_video

WIDTH, EVERY, MILLISECONDS, QUALITY = 860, 2, 150, 55
"""Of the picture, every so many frames of the video, shown so long each, in WebP's quality: under 2 MB."""


def main() -> None:
    """Write drive.webp beside this script."""
    _, frames = read_video(Path(sys.argv[1]))
    pictures = [Image.fromarray(frame) for index, frame in enumerate(frames) if index % EVERY == 0]
    size = WIDTH, round(WIDTH * pictures[0].height / pictures[0].width)
    first, *rest = (picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures)
    with atomic_file(Path(__file__).with_name("drive.webp")) as temporary:
        first.save(
            temporary, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, quality=QUALITY, method=6
        )


if __name__ == "__main__":
    main()
