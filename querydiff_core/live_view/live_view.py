"""The newest labelled frame, drawn for browsers that ask for it, whatever they do."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition, Event, Lock
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from querydiff_core.label_space import LabelSpace
from querydiff_core.live_view.page_server import PageServer
from querydiff_core.utils.image_files import encode_jpeg
from querydiff_core.utils.overlay import heat_map, overlay

WIDEST = 960
"""Pixels that a picture on the page is wide at most: larger ones would cost the run more and show no more."""
PATIENCE = 10.0
"""Seconds that a browser waits for a frame before it is told that there is none yet."""
FAREWELL = 2.0
"""Seconds after a browser's last look in which the end of the run waits for it to come back for the last frame."""


@dataclass(frozen=True)
class ShownFrame:
    """A frame and what to say of it.

    `image`: uint8 RGB `(H, W, 3)`. `labels`: uint8 trainIds `(H, W)`. `confidence`: uint8 `(H, W)`, 255 = certain, or
    None. `label_space`: of the labels. `facts`: what stands above the pictures, by name: `source`, `number`, `total`,
    `condition`, `latency_ms` and `model`, each where it is known.
    """

    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray | None
    label_space: LabelSpace
    facts: Mapping[str, Any]


class LiveView:
    """Serve a page on loopback for the length of a `with` block.

    A frame costs the run nothing unless a browser asks for it: `show` only keeps the newest, and the browser's own
    thread draws it. A browser gets the newest frame whenever it asks, so a slow one skips frames.

    Args:
        port: to listen on, 0 for any that is free.

    Raises:
        QueryDiffError: if the port cannot be had.
    """

    def __init__(self, port: int) -> None:
        self._server = PageServer(port, self._answer)
        self._changed, self._drawing, self._told = Condition(), Lock(), Event()
        self._newest: tuple[int, Callable[[], ShownFrame]] | None = None
        self._drawn: tuple[int, bytes] = (0, b"")
        self._ended, self._asked = False, -FAREWELL

    @property
    def address(self) -> str:
        """Return the page's URL."""
        return self._server.address

    def __enter__(self) -> LiveView:
        """Start to serve."""
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the last frame to who is watching, say that the run has ended, and stop serving."""
        self.end()
        self._told.wait(max(0.0, self._asked + FAREWELL - time.monotonic()))
        self._server.stop()

    def show(self, frame: Callable[[], ShownFrame]) -> None:
        """Let the page show what `frame` returns; it is called in another thread, once, and only if somebody looks."""
        with self._changed:
            number = time.time_ns() // 1000  # grows over the runs that a page sees on one port
            self._newest = max(number, self._newest[0] + 1 if self._newest else 0), frame
            self._changed.notify_all()

    def end(self) -> None:
        """Let the page say that no more frames come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _answer(self, after: int) -> bytes:
        """Return the newest frame past number `after` as JSON, as soon as there is one, or that there is none."""
        self._asked = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._is_newer(after), PATIENCE)
            newest, ended = self._newest if self._is_newer(after) else None, self._ended
        self._asked = time.monotonic()
        if newest is not None:
            return self._draw(*newest)
        if ended:
            self._told.set()
        return json.dumps({"ended": ended}).encode()

    def _is_newer(self, after: int) -> bool:
        return self._newest is not None and self._newest[0] > after

    def _draw(self, number: int, frame: Callable[[], ShownFrame]) -> bytes:
        with self._drawing:  # once, however many look
            if self._drawn[0] < number:
                self._drawn = number, json.dumps({"id": number, **_drawn(frame())}).encode()
            return self._drawn[1]


def _drawn(frame: ShownFrame) -> dict[str, Any]:
    """Return facts, classes with their shares of the pixels, and pictures as `data:` URLs."""
    height, width = frame.labels.shape
    scale = min(1.0, WIDEST / width)
    size = round(width * scale), round(height * scale)
    image = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)  # first: large ones take long to paint
    labels = cv2.resize(frame.labels, size, interpolation=cv2.INTER_NEAREST)
    pictures = {"input": image, "overlay": overlay(image, labels, frame.label_space)}
    if frame.confidence is not None:
        pictures["confidence"] = heat_map(cv2.resize(frame.confidence, size, interpolation=cv2.INTER_AREA))
    shares = np.bincount(labels.ravel(), minlength=256) / labels.size
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in frame.label_space.palette]
    classes = [
        {"name": name, "color": color, "share": round(float(share), 4)}
        for name, color, share in zip(frame.label_space.names, colors, shares, strict=False)
    ]
    return {
        "facts": dict(frame.facts),
        "confident": None if frame.confidence is None else round(float(frame.confidence.mean()) / 255, 4),
        "classes": classes,
        "pictures": {name: _data_url(picture) for name, picture in pictures.items()},
    }


def _data_url(picture: np.ndarray) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(picture, 85).tobytes()).decode()
