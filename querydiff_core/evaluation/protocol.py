"""Predict an image as a test protocol asks: resized, mirrored, at several scales."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.label_space import UNLABELLED
from querydiff_core.utils.image_files import fit_into

Size = tuple[int, int] | float
PAPER_SIZES: dict[str, Size] = {
    "cityscapes": (512, 1024),
    "bdd100k": (720, 1280),
    "mapillary_v1_2": (512, 1024),
    "mapillary_v2_0": (512, 1024),
}
"""Test sizes (height, width) of Rein and the authors. Other sets keep their own size."""
FITTED = ("mapillary_v1_2", "mapillary_v2_0")
"""Sets whose images, of many ratios, are fitted into that size."""


@dataclass(frozen=True)
class Protocol:
    """How images are shown to the network.

    Attributes:
        size: (height, width) that images are resized to first, or a factor; None keeps theirs.
        sizes: sizes by data set, which go before `size`.
        fitted: data sets whose size is a box that images are fitted into, keeping their ratio.
        window: side in pixels of a window slid over the resized image; None predicts the whole at once.
        stride: of the window in pixels; None is two thirds of it.
        flip: predict the mirrored image too.
        scales: predict the image at each of these factors.
    """

    size: Size | None = None
    sizes: dict[str, Size] | None = None
    window: int | None = None
    stride: int | None = None
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    fitted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.scales or not all(0.1 <= scale <= 4 for scale in self.scales):
            raise QueryDiffError(f"scales must be 0.1 to 4, found {self.scales}.")
        if self.scales != (1.0,) and self.window is None:
            raise QueryDiffError(
                "Several scales need a window: engines resize whole images to the network's own size, which undoes "
                "any scale."
            )

    @classmethod
    def paper(cls) -> Protocol:
        """Return the paper's: its test sizes, and a window of 512 every 341 pixels."""
        return cls(sizes=PAPER_SIZES, window=512, stride=341, fitted=FITTED)

    def resized(self, image: np.ndarray, data_set: str) -> np.ndarray:
        """Return `image` `(H, W, 3)` of a data set at the size that it is shown at."""
        size = (self.sizes or {}).get(data_set, self.size)
        if isinstance(size, tuple) and data_set in self.fitted:
            size = fit_into(size, (image.shape[0], image.shape[1]))
        return resize(image, size)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self) | {"scales": list(self.scales), "fitted": list(self.fitted)}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Protocol:
        """Return the protocol whose `to_json` is `raw`.

        Raises:
            QueryDiffError: if it is anything else.
        """
        try:
            sizes = {name: _size(size) for name, size in (raw["sizes"] or {}).items()}
            scales = tuple(map(float, raw["scales"]))
            size = None if raw["size"] is None else _size(raw["size"])
            fitted = tuple(raw.get("fitted", ()))  # results of before have none
            return cls(size, sizes, raw["window"], raw["stride"], bool(raw["flip"]), scales, fitted)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise QueryDiffError(
                f"The settings of a result, {raw}, do not say how `querydiff evaluate` shows images to the network: "
                "pictures can be drawn of its own results alone, leave --panels out."
            ) from error


def predict(
    segmenter: Segmenter, image: np.ndarray, protocol: Protocol, data_set: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return prediction and confidence uint8 `(H, W)` of `image` uint8 RGB `(H, W, 3)`, at its own size.

    Engines give a label and its probability, not all probabilities. Views are therefore averaged over what is known:
    a label's probability in a view is its confidence where the view chose it and 0 where it did not. The largest mean
    wins and is the confidence, a lower bound of the mean of all probabilities. An engine without confidence gives None.

    Raises:
        QueryDiffError: if there are several views and the engine gives no confidence.
    """
    height, width = image.shape[:2]
    resized = protocol.resized(image, data_set)
    mirrored = (False, True) if protocol.flip else (False,)
    views = [(scale, mirror) for scale in protocol.scales for mirror in mirrored]
    if len(views) == 1:
        return _predict_view(segmenter, resized, views[0], (width, height))
    votes = np.zeros((len(segmenter.label_space), height, width), np.uint16)
    for view in views:
        prediction, confidence = _predict_view(segmenter, resized, view, (width, height))
        if confidence is None:
            raise QueryDiffError(
                "Several views are averaged by their confidence, which this engine leaves out: leave --scales and "
                "--flip out, or export it without --labels-only."
            )
        for index in np.unique(prediction[prediction < len(votes)]):
            votes[index] += np.where(prediction == index, confidence, 0)
    best = votes.max(0)
    prediction = np.where(best > 0, votes.argmax(0), UNLABELLED).astype(np.uint8)
    return prediction, (best / len(views)).round().astype(np.uint8)


def _predict_view(
    segmenter: Segmenter, image: np.ndarray, view: tuple[float, bool], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return prediction and confidence of one view (scale, mirrored), brought back to `size` (width, height)."""
    scale, mirror = view
    image = resize(image, scale)
    found = segmenter(np.ascontiguousarray(image[:, ::-1]) if mirror else image)
    outputs = [found.labels] if found.confidence is None else [found.labels, found.confidence]
    prediction, *confidence = (_back(output[:, ::-1] if mirror else output, size) for output in outputs)
    return prediction, confidence[0] if confidence else None


def resize(image: np.ndarray, size: Size | None) -> np.ndarray:
    """Return `image` `(H, W, 3)` at `size`, (height, width) or a factor; itself for None or the same size."""
    height, width = image.shape[:2]
    if isinstance(size, (int, float)):
        size = max(1, round(height * size)), max(1, round(width * size))
    if size is None or tuple(size) == (height, width):
        return image
    smaller = size[0] < height
    resized: np.ndarray = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return resized


def _size(raw: Any) -> Size:
    return (int(raw[0]), int(raw[1])) if isinstance(raw, (list, tuple)) else float(raw)


def _back(side: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if side.shape[::-1] == size:
        return side
    resized: np.ndarray = cv2.resize(side, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return resized
