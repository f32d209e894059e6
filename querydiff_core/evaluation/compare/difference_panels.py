"""Pictures of the images where two models differ most: input, A, B and ground truth (as the paper's Fig. 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.evaluation_source import EvaluationSource, reopen
from querydiff_core.evaluation.protocol import Protocol, predict
from querydiff_core.evaluation.provenance import model_path
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.label_space import UNLABELLED, LabelMapping, cityscapes
from querydiff_core.utils.file_hash import file_hash
from querydiff_core.utils.panels import grid, panel, titled

WIDTH = 480
"""Pixels that each of the four pictures is wide."""
BETTER, WORSE = (0, 220, 80), (255, 40, 60)
"""Frames around what B gets right and A wrong, and the other way round."""
REGIONS, SMALLEST = 4, 0.002


class Panel(NamedTuple):
    """`picture`: uint8 RGB. `domain`, `image`: which. `a`, `b`: share of labelled pixels that each gets right."""

    picture: np.ndarray
    domain: str
    image: str
    a: float
    b: float


class _Differing(NamedTuple):
    share: float
    domain: str
    image: str


def difference_panels(a: Result, b: Result, names: tuple[str, str], count: int) -> Iterator[Panel]:
    """Label the `count` images on which `a` and `b` differ most once more, and draw them.

    Raises:
        QueryDiffError: if a model or the images have changed since, or no domain was scored image by image by both.
    """
    chosen = _most_differing(a, b)[:count]
    if not chosen:
        raise QueryDiffError(
            f"{names[0]} and {names[1]} share no image that was scored alone: evaluate both on one data set."
        )
    models = [(_segmenter(result), Protocol.from_json(result.settings)) for result in (a, b)]
    sources = {domain: _sources(a, domain) for domain in dict.fromkeys(each.domain for each in chosen)}
    for _, domain, image in chosen:
        source, index = _found(image, sources[domain])
        pixels, truth, _ = source.pairs[index]
        assert truth is not None
        labels = [predict(segmenter, pixels, protocol, source.data_set)[0] for segmenter, protocol in models]
        yield _panel(pixels, labels, truth, source.pairs.mapping, names, (domain, image))


def regions(right_a: np.ndarray, right_b: np.ndarray) -> list[tuple[int, int, int, int, bool]]:
    """Return the largest regions where one model alone is right: (x, y, width, height, whether it is B).

    Args:
        right_a: bool `(H, W)`, where A is right.
        right_b: where B is.
    """
    found = []
    height, width = right_a.shape
    closing = np.ones((max(3, width // 80),) * 2, np.uint8)
    for b_alone, mask in ((True, right_b & ~right_a), (False, right_a & ~right_b)):
        joined = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, closing)
        joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        for x, y, w, h, area in cv2.connectedComponentsWithStats(joined)[2][1:].tolist():
            if area >= SMALLEST * height * width:
                found.append((area, (x, y, w, h, b_alone)))
    return [box for _, box in sorted(found, reverse=True)[:REGIONS]]


def _most_differing(a: Result, b: Result) -> list[_Differing]:
    """Return the images of both, the largest share of labelled pixels right in one alone (at least) first."""
    found = []
    for domain in a.domains:
        other = b.domain(domain.name)
        theirs = {image.name: image for image in (other.by_image or [])} if other else {}
        for mine in domain.by_image or []:
            match = theirs.get(mine.name)
            if match and match.ground_truth == mine.ground_truth and sum(mine.ground_truth):
                change = np.abs(np.subtract(mine.hits, match.hits)).sum() / sum(mine.ground_truth)
                found.append(_Differing(float(change), domain.name, mine.name))
    return sorted(found, key=lambda each: (-each.share, each.domain, each.image))


def _segmenter(result: Result) -> Segmenter:
    protocol = Protocol.from_json(result.settings)
    path = model_path(result.model)
    if not path.is_file() or file_hash(path) != result.model["sha256"]:
        raise QueryDiffError(f"{path} is missing or not the model that was measured: evaluate it again.")
    size = tuple(result.model["input_size"]) if path.suffix == ".safetensors" else None
    return Segmenter.load(path, size=size, window=protocol.window, stride=protocol.stride)


def _sources(result: Result, domain: str) -> list[EvaluationSource]:
    """Return what a domain was scored on: several sources if results were merged."""
    found = [reopen(entry) for entry in result.data if entry.get("domain") == domain]
    if not found:
        raise QueryDiffError(f"The result does not say where the images of {domain} are: leave --panels out.")
    return found


def _found(image: str, sources: list[EvaluationSource]) -> tuple[EvaluationSource, int]:
    """Return the source that has the image, and its place there."""
    for source in sources:
        for index, (file, _) in enumerate(source.pairs.pairs):
            if file.relative_to(source.pairs.root).with_suffix("").as_posix() == image:
                return source, index
    raise QueryDiffError(f"Image {image} is no longer where it was scored: leave --panels out.")


def _panel(
    image: np.ndarray,
    labels: list[np.ndarray],
    truth: np.ndarray,
    mapping: LabelMapping,
    names: tuple[str, str],
    where: tuple[str, str],
) -> Panel:
    table = _one_id_a_group(mapping)
    truth = table[truth]
    seen = truth != UNLABELLED
    found = [table[each] for each in labels]
    right = [(each == truth) & seen for each in found]
    a, b = (float(each.sum() / max(1, seen.sum())) for each in right)
    pictures = [image, *(cityscapes().paint(each) for each in (*found, truth))]
    titles = ["input", f"A: {names[0]}, {100 * a:.1f} % right", f"B: {names[1]}, {100 * b:.1f} % right", "ground truth"]
    boxes = regions(*right)
    tiles = [_tile(picture, title, boxes) for picture, title in zip(pictures, titles, strict=True)]
    return Panel(grid(tiles, len(tiles), 6), *where, a, b)


def _tile(picture: np.ndarray, title: str, boxes: list[tuple[int, int, int, int, bool]]) -> np.ndarray:
    scale = WIDTH / picture.shape[1]
    tile = panel(picture, WIDTH, max(1, round(picture.shape[0] * scale)))
    for x, y, width, height, b_alone in boxes:
        box = [round(side * scale) for side in (x, y, width, height)]
        cv2.rectangle(tile, box, (0, 0, 0), 4)
        cv2.rectangle(tile, box, BETTER if b_alone else WORSE, 2)
    return titled(tile, title)


def _one_id_a_group(mapping: LabelMapping) -> np.ndarray:
    """Return a table `(256,)` that gives all trainIds of a score class the first one's colour."""
    table = np.full(256, UNLABELLED, np.uint8)
    for _, train_ids in mapping.score_classes:
        table[list(train_ids)] = train_ids[0]
    return table
