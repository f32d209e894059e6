"""Temperature scaling: make the confidence of a student true by one factor on its class logits.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2; here the temperature is the one whose
expected calibration error on labelled images is least, and it is folded into the weights of the class head, so that
every engine has it and nothing is computed besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.evaluation_source import EvaluationSource
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.inference.resizing import shrink
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.models.querydiff import QueryDiff, semantic_probabilities
from querydiff_core.utils.parallel import each

TEMPERATURES = tuple(round(0.5 + 0.05 * step, 2) for step in range(31))
"""Those that are tried, 0.5 to 2."""


@dataclass(frozen=True)
class Trial:
    """What a temperature gives on all images together: mIoU and expected calibration error, 0 to 1."""

    temperature: float
    miou: float
    ece: float


def try_temperatures(
    model: QueryDiff,
    size: tuple[int, int],
    source: EvaluationSource,
    should_continue: Callable[[], bool],
    temperatures: Sequence[float] = TEMPERATURES,
) -> list[Trial]:
    """Return what each temperature gives, compared at the network's own `size` (height, width).

    `should_continue` is called after each image; where it says no, KeyboardInterrupt is raised.

    Raises:
        QueryDiffError: if an image cannot be read, or no pixel is labelled.
    """
    graph, mapping = SegmentationGraph(model, size), source.pairs.mapping
    scorers = {temperature: Scorer(mapping) for temperature in temperatures}
    for image, _ in each(source.pairs.read, range(len(source.pairs)), 1):
        assert image.labels is not None
        truth = cv2.resize(image.labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        pixels = shrink(torch.from_numpy(np.ascontiguousarray(image.image))[None], size)
        for temperature, decided in _decided(graph, pixels, temperatures):
            scorers[temperature].update(*decided, truth, image.stem)
        if not should_continue():
            raise KeyboardInterrupt
    results = {temperature: scorer.result(source.domain) for temperature, scorer in scorers.items()}
    trials = [Trial(t, r.miou, r.ece) for t, r in results.items() if r.miou is not None and r.ece is not None]
    if not trials:
        raise QueryDiffError(f"{source.domain} has no labelled pixel: there is nothing to calibrate on.")
    return trials


def scale(model: QueryDiff, temperature: float) -> None:
    """Divide the class logits of `model` by the temperature, in its weights."""
    head = model.mask_decoder.class_head
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.div_(temperature)


@torch.no_grad()
def _decided(
    graph: SegmentationGraph, pixels: Tensor, temperatures: Sequence[float]
) -> list[tuple[float, tuple[np.ndarray, np.ndarray]]]:
    """Return labels and confidence by temperature, uint8 of the network's size; the network runs once."""
    output = graph.output((pixels - graph.mean) / graph.std)
    found = []
    for temperature in temperatures:
        scores = semantic_probabilities(output._replace(classes=[output.classes[-1] / temperature]))
        labels, confidence = (each[0].byte().numpy() for each in graph.decide(scores))
        found.append((temperature, (labels, confidence)))
    return found
