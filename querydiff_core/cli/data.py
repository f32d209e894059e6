"""The subcommand `querydiff data`: list the data sets that can be read, and check one before anyone waits for it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import atomic_file, check_writable

if TYPE_CHECKING:
    from querydiff_core.data.data_check import PartCheck
    from querydiff_core.data.data_sets.data_set import DataSet

CHECK_FILE = "check.txt"
SUMMARY = "list the data sets that can be read; check what is there, missing or damaged"


def main(argv: Sequence[str]) -> int:
    """List or check; 0 on success, 1 if the data set has problems."""
    arguments = parser().parse_args(argv)
    return _list() if arguments.what == "list" else _check(arguments)


def _list() -> int:
    from querydiff_core.data.data_source import DATA_SETS

    for kind in DATA_SETS:
        print(f"{kind.name}: {kind.title}")
        for line in kind.layout.splitlines():
            print(f"    {line}")
        for what, values in (("splits", kind.splits), ("conditions", kind.conditions)):
            if values:
                print(f"  {what}: {', '.join(values)}")
        print(f"  from: {kind.source}\n  terms: {kind.terms}\n")
    print(
        "The root that you name holds these paths. `querydiff data check SET ROOT` says what is there and what is not."
    )
    return 0


def _check(arguments: argparse.Namespace) -> int:
    import cv2

    from querydiff_core.data.check_report import print_report
    from querydiff_core.data.data_check import DataCheck
    from querydiff_core.data.data_source import data_set
    from querydiff_core.utils.terminal import console

    cv2.setNumThreads(1)  # the workers are the threads
    if arguments.workers < 1:
        raise QueryDiffError(f"--workers must be 1 or more, found {arguments.workers}.")
    if arguments.output:
        check_writable(arguments.output / CHECK_FILE)
    reader = data_set(arguments.data_set, arguments.mapping)
    check = DataCheck(reader, arguments.root, arguments.split, arguments.condition, arguments.quick, arguments.workers)
    parts = check.run()
    if arguments.output:  # before anything is printed
        _write(parts, reader, arguments)
    print_report(parts, f"{reader.name} in {arguments.root}", console())
    images = _counted(sum(part.images for part in parts), "image")
    if problems := sum(len(part.problems) for part in parts):
        print(f"{_counted(problems, 'problem')} in {images}.")
        return 1
    print(f"{images}, no problem" + (" (names and sizes alone were looked at)." if arguments.quick else "."))
    return 0


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _write(parts: Sequence[PartCheck], reader: DataSet, arguments: argparse.Namespace) -> None:
    """Write the pictures and all sentences into the output folder."""
    from querydiff_core.data.check_pictures import bar_chart, sample_sheet
    from querydiff_core.data.label_decoder import LabelDecoder
    from querydiff_core.utils.image_files import write_image

    written = [arguments.output / CHECK_FILE]
    with atomic_file(written[0]) as temporary:
        sentences = "".join(f"{s}\n" for part in parts for s in (*part.problems, *part.notes))
        temporary.write_text(sentences, encoding="utf-8", errors="backslashreplace")
    for part in parts:
        name = part.name.replace(" ", "_")
        if part.class_pixels.any():
            written.append(arguments.output / f"classes_{name}.png")
            write_image(written[-1], bar_chart(part.class_pixels, f"{reader.name} {part.name}: share of pixels"))
        sheet = sample_sheet(part.sound, LabelDecoder(reader.mapping(arguments.root)))
        if sheet is not None:
            written.append(arguments.output / f"samples_{name}.jpg")
            write_image(written[-1], sheet)
    print("Written: " + ", ".join(map(str, written)) + ".")


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff data",
        description="List the data sets that can be read, and check one before anyone waits for it.",
        epilog="example: querydiff data check cityscapes /data/cityscapes --split val",
    )
    subcommands = parser.add_subparsers(dest="what", required=True, metavar="list|check")
    subcommands.add_parser(
        "list",
        help="the data sets, where their files are expected, where to get them",
        description="Print every data set that can be read with its expected layout: unpack the archives to that.",
    )
    check = subcommands.add_parser(
        "check",
        help="what is there, what is missing or damaged, how often each class occurs",
        description="Decode every image and label of a data set and say what is there, what is missing or damaged, "
        "which label values are outside the map, where sizes disagree, and how often each class occurs. Nothing is "
        "written into the data set. Exit code 1 if there are problems.",
        epilog="examples: querydiff data check acdc /data/acdc --condition night --output build/acdc; "
        "querydiff data check folder /data/mine --mapping mine.yaml. `querydiff data list` names the sets.",
    )
    check.add_argument("data_set", metavar="SET", help="gta5, cityscapes, acdc, folder, ...: see `querydiff data list`")
    check.add_argument("root", metavar="ROOT", type=Path, help="folder that the data set was unpacked into")
    check.add_argument("--split", help="only this one, such as train or val (default: all that are there)")
    check.add_argument("--condition", help="only this one, such as night (default: all)")
    check.add_argument("--mapping", help="of SET folder: what label values mean, a name or a YAML file")
    check.add_argument("--output", metavar="DIR", type=Path, help="write class frequencies and samples as pictures")
    check.add_argument("--quick", action="store_true", help="names and sizes alone: no file is decoded")
    check.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="threads (default: all cores)")
    return parser
