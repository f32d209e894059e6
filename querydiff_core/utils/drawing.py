"""Boxes, lines and words that become a PNG picture and an SVG alike."""

from __future__ import annotations

from html import escape
from typing import Literal, NamedTuple

import cv2
import numpy as np

Color = tuple[int, int, int]
INK: Color = (34, 34, 34)
FAINT: Color = (200, 200, 200)
LETTER = 6.6
"""Mean width of a letter of the 12-pixel font."""


class Box(NamedTuple):
    """A filled rectangle; `hint` shows when the mouse rests on it."""

    x: float
    y: float
    width: float
    height: float
    color: Color
    hint: str = ""


class Line(NamedTuple):
    """A straight line."""

    x: float
    y: float
    to_x: float
    to_y: float
    color: Color = FAINT


class Words(NamedTuple):
    """Text whose baseline starts, is centred or ends at `(x, y)`; `up` turns it by 90 degrees."""

    x: float
    y: float
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    color: Color = INK
    up: bool = False


class Drawing:
    """A white sheet of `width` x `height` pixels on which shapes lie in their order."""

    def __init__(self, width: float, height: float, title: str) -> None:
        """Start empty; `title` is read out to those who cannot see the drawing."""
        self.width, self.height, self.title = round(width), round(height), title
        self.shapes: list[Box | Line | Words] = []

    def add(self, *shapes: Box | Line | Words) -> None:
        """Put shapes on top."""
        self.shapes += shapes

    def svg(self) -> str:
        """Return the drawing as an SVG element that scales to the width there is."""
        inner = "\n".join(map(_svg, self.shapes))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'preserveAspectRatio="xMinYMin" style="max-width:{self.width}px" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="12">'
            f"<title>{escape(self.title)}</title>\n{inner}\n</svg>"
        )

    def image(self, scale: int = 2) -> np.ndarray:
        """Return the drawing as uint8 RGB `(scale * height, scale * width, 3)`."""
        canvas = np.full((self.height * scale, self.width * scale, 3), 255, np.uint8)
        for shape in self.shapes:
            _paint(canvas, shape, scale)
        return canvas


def words_width(text: str) -> float:
    """Return about how many pixels wide `text` is."""
    return LETTER * len(text)


def shade(share: float) -> Color:
    """Return white for 0, deepening to green for 1 and to red for -1; `share` is cut to that range."""
    end = np.array((27, 120, 55) if share > 0 else (178, 24, 43))
    red, green, blue = (255 + (end - 255) * min(1.0, abs(share))).round().astype(int).tolist()
    return red, green, blue


def readable_on(color: Color) -> Color:
    """Return black or white, whichever can be read on `color`."""
    return (255, 255, 255) if np.dot(color, (0.299, 0.587, 0.114)) < 140 else INK


def _svg(shape: Box | Line | Words) -> str:
    color = "#{:02x}{:02x}{:02x}".format(*shape.color)
    if isinstance(shape, Box):
        hint = f"<title>{escape(shape.hint)}</title>" if shape.hint else ""
        size = f'width="{shape.width:.1f}" height="{shape.height:.1f}"'
        return f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" {size} fill="{color}">{hint}</rect>'
    if isinstance(shape, Line):
        ends = f'x1="{shape.x:.1f}" y1="{shape.y:.1f}" x2="{shape.to_x:.1f}" y2="{shape.to_y:.1f}"'
        return f'<line {ends} stroke="{color}"/>'
    turned = f' transform="rotate(-90 {shape.x:.1f} {shape.y:.1f})"' if shape.up else ""
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" text-anchor="{shape.anchor}"{turned}'
    return f'<text {place} fill="{color}">{escape(shape.text)}</text>'


def _paint(canvas: np.ndarray, shape: Box | Line | Words, scale: int) -> None:
    x, y = round(shape.x * scale), round(shape.y * scale)
    if isinstance(shape, Box):
        end = round((shape.x + shape.width) * scale), round((shape.y + shape.height) * scale)
        canvas[y : end[1], x : end[0]] = shape.color
    elif isinstance(shape, Line):
        cv2.line(canvas, (x, y), (round(shape.to_x * scale), round(shape.to_y * scale)), shape.color, scale // 2)
    else:
        _write(canvas, shape, x, y, scale)


def _write(canvas: np.ndarray, words: Words, x: int, y: int, scale: int) -> None:
    # OpenCV's fonts hold ASCII alone.
    text = words.text.replace("·", ".").encode("ascii", "replace").decode()
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.39 * scale
    (width, height), below = cv2.getTextSize(text, font, size, 1)
    shift = {"start": 0, "middle": width // 2, "end": width}[words.anchor]
    if not words.up:
        cv2.putText(canvas, text, (x - shift, y), font, size, words.color, 1, cv2.LINE_AA)
        return
    sheet = np.full((height + below + 2, width + 2, 3), 255, np.uint8)
    cv2.putText(sheet, text, (1, height), font, size, words.color, 1, cv2.LINE_AA)
    sheet = np.rot90(sheet)
    top, left = max(0, y - width + shift), max(0, x - height)
    place = canvas[top : top + sheet.shape[0], left : left + sheet.shape[1]]
    np.minimum(place, sheet[: place.shape[0], : place.shape[1]], out=place)
