"""`querydiff segment`: label images or a video from the shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from querydiff_core.cli.engine_arguments import add_engine_arguments, engine_options
from querydiff_core.cli.view_arguments import add_view_arguments, opened_view
from querydiff_core.errors import QueryDiffError

if TYPE_CHECKING:
    import numpy as np

    from querydiff_core.inference.segmenter import Segmentation
    from querydiff_core.live_view.live_view import LiveView
    from querydiff_core.utils.terminal import Report

SUMMARY = "label images or videos: label PNGs and overlays"

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"}
VIDEOS = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v"}


def main(argv: Sequence[str]) -> int:
    """Label every file; images give two files each, a video gives a folder of labels and an overlay video."""
    arguments = parser().parse_args(argv)
    if not 0 <= arguments.opacity <= 1:
        raise QueryDiffError(f"--opacity must be 0 to 1, found {arguments.opacity}.")
    files = list(_expand(arguments.files))
    _check_outputs(files, arguments.output)

    from querydiff_core.utils.terminal import progress

    total = _frames_in(files)
    with opened_view(arguments) as view:
        with progress("labelling", total) as report:
            labelling = _Labelling(arguments, total, view, report)
            for file in files:
                labelling.label(file)
        print(f"{len(files)} file{'s' if len(files) != 1 else ''} labelled into {arguments.output}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        "querydiff segment",
        description="Label images and videos. NAME_label.png holds trainIds (uint8, 255 unlabelled) at the image's "
        "size; NAME_overlay shows them over the image.",
        epilog="example: querydiff segment drive.mp4 photos/ --output labelled",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="images, videos, or folders of them")
    parser.add_argument(
        "--output", type=Path, default=Path("labelled"), help="folder to write into (default: %(default)s)"
    )
    parser.add_argument(
        "--opacity", type=float, default=0.5, help="of the colours in overlays, 0 to 1 (default: %(default)s)"
    )
    add_view_arguments(parser)
    add_engine_arguments(parser)
    return parser


def _expand(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if not path.exists():
            raise QueryDiffError(f"No file {path}: give images, videos, or folders of them.")
        found = sorted(file for file in path.iterdir() if file.name[0] != ".") if path.is_dir() else [path]
        known = [file for file in found if file.suffix.lower() in IMAGES | VIDEOS and not file.is_dir()]
        if not known:
            raise QueryDiffError(
                f"{path} is no image or video that this command reads ({', '.join(sorted(IMAGES | VIDEOS))})."
            )
        yield from known


def _check_outputs(files: Sequence[Path], folder: Path) -> None:
    """Refuse before the work what would write two results to one file, or over an input, or cannot be written."""
    from querydiff_core.utils.atomic_file import check_writable

    inputs, written = {file.resolve() for file in files}, dict[Path, Path]()
    for file in files:
        is_video = file.suffix.lower() in VIDEOS
        for output in (_video_outputs if is_video else _image_outputs)(folder / file.stem):
            if output.resolve() in inputs:
                raise QueryDiffError(f"The result {output} would replace an input: choose another --output.")
            if other := written.get(output):
                raise QueryDiffError(f"{other} and {file} would both be labelled into {output}: use two --output.")
            written[output] = file
    check_writable(folder / "result")


def _image_outputs(stem: Path) -> tuple[Path, Path]:
    """Return where the labels of an image and its overlay go."""
    return Path(f"{stem}_label.png"), Path(f"{stem}_overlay.jpg")


def _video_outputs(stem: Path) -> tuple[Path, Path]:
    """Return the folder that the labels of a video go to, and where its overlay goes."""
    return Path(f"{stem}_labels"), Path(f"{stem}_overlay.mp4")


def _frames_in(files: Sequence[Path]) -> int | None:
    """Return how many frames there are to label, None where a video does not say."""
    from querydiff_core.utils.video import video_length

    lengths = [video_length(file) if file.suffix.lower() in VIDEOS else 1 for file in files]
    return None if None in lengths else sum(filter(None, lengths))


class _Labelling:
    """Label files one after the other; tell of each frame that is done, and show it where somebody looks."""

    def __init__(self, arguments: argparse.Namespace, total: int | None, view: LiveView | None, report: Report) -> None:
        from querydiff_core.inference.segmenter import Segmenter

        self._segmenter = model = Segmenter.open(engine_options(arguments))
        self._model = f"{model.metadata.variant} on {model.engine_name} ({model.device})"
        self._folder, self._opacity, self._total = arguments.output, arguments.opacity, total
        self._view, self._report, self._done = view, report, 0

    def label(self, file: Path) -> None:
        """Write two files for an image; for a video, a folder of labels and an overlay video."""
        label = self._label_video if file.suffix.lower() in VIDEOS else self._label_image
        label(file, self._folder / file.stem)

    def _label_image(self, file: Path, stem: Path) -> None:
        from querydiff_core.utils.image_files import read_image, write_image

        image = read_image(file)
        label_file, overlay_file = _image_outputs(stem)
        labels, painted = self._labelled(image, file)
        write_image(label_file, labels)
        write_image(overlay_file, painted)

    def _label_video(self, file: Path, stem: Path) -> None:
        from querydiff_core.utils.image_files import write_image
        from querydiff_core.utils.video import read_video, write_video

        label_folder, overlay_file = _video_outputs(stem)

        def painted() -> Iterable[np.ndarray]:
            for index, frame in enumerate(frames):
                labels, picture = self._labelled(frame, file)
                write_image(label_folder / f"{index:06}.png", labels)
                yield picture

        rate, frames = read_video(file)
        # Of a longer video that had this name, some would be left among ours.
        for old in (*label_folder.glob("[0-9]" * 6 + ".png"), overlay_file):
            old.unlink(missing_ok=True)
        write_video(overlay_file, painted(), rate)

    def _labelled(self, image: np.ndarray, file: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of a frame of `file`, and the frame under their colours."""
        from querydiff_core.utils.overlay import overlay

        found = self._segmenter(image)
        self._done += 1
        self._report(self._done, file.name)
        if self._view:
            self._show(self._view, image, found, file.name)
        return found.labels, overlay(image, found.labels, self._segmenter.label_space, self._opacity)

    def _show(self, view: LiveView, image: np.ndarray, found: Segmentation, source: str) -> None:
        from querydiff_core.live_view.live_view import ShownFrame

        facts = {
            "source": source,
            "number": self._done,
            "total": self._total,
            "latency_ms": 1000 * found.timings["total"],
            "model": self._model,
        }
        space = self._segmenter.label_space
        view.show(lambda: ShownFrame(image, found.labels, found.confidence, space, facts))
