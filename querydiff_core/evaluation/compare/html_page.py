"""A comparison as one self-contained HTML page, for browsers and for paper."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from querydiff_core.evaluation.compare.charts import bar_chart, heat_map
from querydiff_core.evaluation.compare.comparison import Comparison
from querydiff_core.evaluation.compare.difference_panels import Panel
from querydiff_core.evaluation.compare.tables import (
    TextTable,
    difference_table,
    miou_table,
    published_table,
    scores_table,
    threshold_table,
)
from querydiff_core.evaluation.result import Result
from querydiff_core.label_space import cityscapes
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.image_files import encode_jpeg
from querydiff_core.utils.plots import svg

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 Helvetica, Arial, sans-serif; color: #222; background: #fff; max-width: 1180px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; padding-bottom: .2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
th { border-bottom: 2px solid #999; vertical-align: bottom; }
th:first-child, td:first-child, .facts td { text-align: left; }
.facts td:last-child { overflow-wrap: anywhere; }
.facts td:not(:last-child), .numbers td:not(:first-child) { white-space: nowrap; }
.legend span { display: inline-block; margin-right: .9rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
.published td { color: #666; font-style: italic; }
.note, figcaption { color: #555; font-size: .87rem; margin: .3rem 0 0; }
figure { margin: 1rem 0; }
svg { max-width: 100%; height: auto; }
img { width: 100%; height: auto; }
.better { color: #007a2e; font-weight: bold; }
.worse { color: #b00020; font-weight: bold; }
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  body { margin: 0; max-width: none; font-size: 10pt; }
  .scroll { overflow: visible; }
  h2 { break-after: avoid; }
  table { font-size: 8.5pt; }
  table, tr, figure { break-inside: avoid; }
  svg { max-height: 105mm; width: auto; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def write_page(path: Path, comparison: Comparison, panels: Sequence[Panel], published: bool) -> None:
    """Write the page: tables, charts and pictures, with no reference to any other file.

    Raises:
        QueryDiffError: if it cannot be written.
    """
    first, *others = comparison.names
    body = [
        f"<h1>{escape(' / '.join(comparison.names))}</h1>",
        _table(miou_table(comparison)),
        _figure(svg(bar_chart(comparison), "mIoU by domain")),
    ]
    for name in others:
        body.append(_table(difference_table(comparison, first, name)))
        chart = svg(heat_map(comparison, first, name), f"Gain of {name} over {first} by class and domain")
        body.append(_figure(chart, "Green: better, red: worse; · no score."))
    body += [_panels(panels), _table(scores_table(comparison)), _table(threshold_table(comparison))]
    if published:
        body.append(_table(published_table(), "published"))
    body.append(_facts(comparison))
    with atomic_file(path) as temporary:
        temporary.write_text(
            _page("Comparison of segmentation models", "\n".join(body)), encoding="utf-8", errors="backslashreplace"
        )


def _page(title: str, body: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _table(text: TextTable, kind: str = "") -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in text.head)
    rows = "\n".join("<tr>" + "".join(f"<td>{_marked(cell)}</td>" for cell in row) + "</tr>" for row in text.rows)
    note = f'<p class="note">{escape(text.note)}</p>' if text.note else ""
    return (
        f'<h2>{escape(text.title)}</h2>\n<div class="scroll"><table class="numbers {kind}">'
        f"\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody></table></div>\n{note}"
    )


def _marked(cell: str) -> str:
    """Colour a verdict."""
    return f'<span class="{cell}">{cell}</span>' if cell in ("better", "worse") else escape(cell)


def _figure(inner: str, caption: str = "") -> str:
    return f"<figure>{inner}{f'<figcaption>{escape(caption)}</figcaption>' if caption else ''}</figure>"


def _panels(panels: Sequence[Panel]) -> str:
    if not panels:
        return ""
    figures = []
    for panel in panels:
        data = base64.b64encode(encode_jpeg(panel.picture, 88).tobytes()).decode()
        caption = f"{panel.domain}: {panel.image}. Right: A {100 * panel.a:.1f} %, B {100 * panel.b:.1f} % of pixels."
        picture = f'<img src="data:image/jpeg;base64,{data}" alt="{escape(caption)}">'
        figures.append(_figure(picture, caption))
    note = '<p class="note">Frames: green where B alone is right, red where A alone is. Black: no ground truth.</p>'
    return f"<h2>Where they differ most</h2>\n{note}\n{_legend()}\n" + "\n".join(figures)


def _legend() -> str:
    classes = zip(cityscapes().names, cityscapes().palette, strict=True)
    swatches = (f'<span><i style="background:rgb{color}"></i>{escape(name)}</span>' for name, color in classes)
    return f'<p class="note legend">{" ".join(swatches)}</p>'


def _facts(comparison: Comparison) -> str:
    rows = [(name, what, text) for name, result in comparison.results.items() for what, text in _of(result)]
    cells = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<h2>How it was measured</h2>\n<table class="facts"><tbody>\n{cells}\n</tbody></table>'


def _of(result: Result) -> list[tuple[str, str]]:
    data = [{key: value for key, value in entry.items() if value is not None} for entry in result.data]
    facts = [("model", result.model), ("settings", result.settings), ("versions", result.versions)]
    facts += [("data", entry) for entry in data]
    return [(what, ", ".join(f"{key} {value}" for key, value in entry.items())) for what, entry in facts]
