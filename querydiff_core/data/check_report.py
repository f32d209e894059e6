"""Say in the terminal what a data check found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from querydiff_core.data.data_check import PartCheck
from querydiff_core.data.labelled_pairs import words
from querydiff_core.label_space import cityscapes

SHOWN = 10
MOST_COLUMNS = 3


def print_report(parts: Sequence[PartCheck], title: str, console: Console) -> None:
    """Print what was found by part, the classes, notes and problems; at most ten of each."""
    console.print(_parts_table(parts, title))
    if any(part.class_pixels.any() for part in parts):
        console.print(_class_table(parts))
    _print_sentences([note for part in parts for note in part.notes], "note", "yellow", console)
    _print_sentences([problem for part in parts for problem in part.problems], "problem", "red", console)


def share(part: float, whole: float) -> str:
    """Return a share in percent with two significant digits or more, such as 34, 3.4 or 0.030."""
    percent = 100 * part / whole if whole else 0.0
    return "-" if not part else f"{percent:.0f}" if percent >= 10 else f"{percent:#.2g}"


def _parts_table(parts: Sequence[PartCheck], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("part", "images", "labelled", "problems", "sizes (width x height)"):
        table.add_column(column, justify="left" if column in ("part", "sizes (width x height)") else "right")
    for part in parts:
        row = (part.images, part.labelled, len(part.problems))
        table.add_row(part.name, *(f"{number:,}" if number else "-" for number in row), _sizes(part.sizes))
    return table


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    shown = [f"{words(size)} ({count:,})" for size, count in sizes.most_common(3)]
    return ", ".join(shown) + (f", {len(sizes) - 3} more" if len(sizes) > 3 else "")


def _class_table(parts: Sequence[PartCheck]) -> Table:
    parts = _columns([part for part in parts if part.class_pixels.any()])
    table = Table(title="classes: % of labelled pixels, and % of images that show them", title_justify="left")
    table.add_column("class")
    for part in parts:
        table.add_column(f"{part.name}\npixels", justify="right")
        table.add_column("\nimages", justify="right")
    for index, (name, color) in enumerate(zip(cityscapes().names, cityscapes().palette, strict=True)):
        row = [cell for part in parts for cell in _class_cells(part, index)]
        table.add_row(Text.assemble(("  ", f"on rgb({color[0]},{color[1]},{color[2]})"), f" {name}"), *row)
    unlabelled = [(share(part.unlabelled, part.unlabelled + part.class_pixels.sum()), "") for part in parts]
    table.add_row("   unlabelled (of all)", *(cell for cells in unlabelled for cell in cells))
    return table


def _columns(parts: Sequence[PartCheck]) -> Sequence[PartCheck]:
    """Return parts that fit into a terminal side by side: where there are many, conditions are added up."""
    if len(parts) <= MOST_COLUMNS:
        return parts
    return [_sum([part for part in parts if part.split == split]) for split in dict.fromkeys(p.split for p in parts)]


def _sum(parts: Sequence[PartCheck]) -> PartCheck:
    return PartCheck(
        split=parts[0].split,
        labelled=sum(part.labelled for part in parts),
        class_pixels=np.sum([part.class_pixels for part in parts], axis=0),
        class_images=np.sum([part.class_images for part in parts], axis=0),
        unlabelled=sum(part.unlabelled for part in parts),
    )


def _class_cells(part: PartCheck, index: int) -> tuple[str, str]:
    pixels, images = part.class_pixels[index], part.class_images[index]
    return share(pixels, part.class_pixels.sum()), share(images, part.labelled)


def _print_sentences(sentences: Sequence[str], kind: str, color: str, console: Console) -> None:
    for sentence in sentences[:SHOWN]:
        console.print(Text.assemble((f"{kind}: ", color), sentence), soft_wrap=True)
    if len(sentences) > SHOWN:
        console.print(f"and {len(sentences) - SHOWN:,} more of them", style=color)
