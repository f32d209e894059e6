"""Charts by Matplotlib, without a window and without its global state: the same chart gives the same bytes."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
_HINT = "hint: "


def new_figure(width: int, height: int) -> Figure:
    """Return an empty white figure of `width` x `height` pixels that makes room for all text by itself."""
    from matplotlib.figure import Figure  # late, as all of Matplotlib: commands that draw nothing start without it

    return Figure(((width + 0.01) / DPI, (height + 0.01) / DPI), dpi=DPI, constrained_layout=True)


def clear_up(axes: Axes) -> None:
    """Leave out the frame above and to the right, and draw a faint grid behind everything else."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(color="0.88")


def add_hint(artist: Artist, text: str) -> None:
    """Show `text` when the mouse rests on `artist` in the SVG."""
    artist.set_gid(_HINT + text)


def picture(figure: Figure) -> np.ndarray:
    """Return the figure as uint8 RGB `(height, width, 3)`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _take_text_literally(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def svg(figure: Figure, title: str) -> str:
    """Return the figure as an SVG element with text that can be searched; `title` is read out to the blind.

    Elements have no ids of their own, so that one page can hold several figures.
    """
    import matplotlib

    _take_text_literally(figure)
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "querydiff"}):
        figure.savefig(file, format="svg", metadata={**nothing, "Title": title})
    text = file.getvalue()
    text = re.sub(rf""" id=(["']){_HINT}(.*?)\1>""", r"><title>\2</title>", text[text.index("<svg") :])
    return re.sub(r' id="[\w.]+_\d+"', "", text).replace("<svg", '<svg role="img"', 1)


def _take_text_literally(figure: Figure) -> None:
    """Let a name that holds dollar signs be a name and not a formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
