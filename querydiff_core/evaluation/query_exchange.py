"""How much of an image its agent queries hold: what they vary by, and what giving an image another's would cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn

from querydiff_core.data.labelled_pairs import LabelledImage
from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.evaluation_source import EvaluationSource
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.inference.checkpoint import load_checkpoint
from querydiff_core.inference.device_runner import torch_device
from querydiff_core.inference.engine import EngineOptions, default_checkpoint
from querydiff_core.inference.resizing import shrink
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.models.agent_queries import AgentQueries
from querydiff_core.models.query_statistics import BetweenImages, perplexity_share
from querydiff_core.models.rein import Rein
from querydiff_core.utils.parallel import each
from querydiff_core.utils.terminal import percent

OWN, EXCHANGED, MEAN, UNSTEERED = "own", "another image's", "their mean", "own, Rein's tokens without effect"
"""Which agent queries an image is given."""


@dataclass(frozen=True)
class QueryReport:
    """What was measured on one domain.

    Attributes:
        images: how many.
        share_between_images: of the variance of the agent queries, 0 to 1.
        miou: by which agent queries were given, 0 to 1.
        changed: share of the pixels that got another label than with the image's own agent queries.
        perplexity: of the attention in Eq. 3 by layer, as a share of its pixels; empty where queries read no pixels.
    """

    images: int
    share_between_images: float
    miou: dict[str, float | None]
    changed: dict[str, float]
    perplexity: list[float] = field(default_factory=list)

    def cost(self, given: str) -> float | None:
        """Return the mIoU that an image loses with those queries, 0 to 1."""
        own, other = self.miou[OWN], self.miou[given]
        return None if own is None or other is None else own - other


class QueryExchange:
    """Measure agent queries of the checkpoint that `options` name, which looks at images whole.

    Raises:
        QueryDiffError: if the file is no checkpoint.
    """

    def __init__(self, options: EngineOptions, workers: int = 2) -> None:
        file = options.file if options.model else default_checkpoint()
        if file.suffix != ".safetensors":
            raise QueryDiffError(
                f"Agent queries are inside the student: give a checkpoint (.safetensors), found {file}."
            )
        model, metadata = load_checkpoint(file)
        self._device, self._workers = torch_device(options.device), workers
        self._graph = SegmentationGraph(model, options.size or metadata.input_size).to(self._device)
        self._own = model.agent_queries
        self._given = model.agent_queries = _Given(self._own)
        self._reins = [module for module in model.modules() if isinstance(module, Rein)]

    def __call__(self, source: EvaluationSource) -> QueryReport:
        """Return what its images say; each is read twice, and is given the queries of the one half the set away.

        Raises:
            QueryDiffError: as decoding does, or if there are fewer than two images.
        """
        count = len(source.pairs)
        if count < 2:
            raise QueryDiffError(f"{source.domain} has one image: agent queries are exchanged between two or more.")
        between, queries, perplexity = self._queries(source)
        kinds = [OWN, EXCHANGED, MEAN, *([UNSTEERED] if self._reins else [])]
        scorers, changed = {kind: Scorer(source.pairs.mapping) for kind in kinds}, dict.fromkeys(kinds[1:], 0.0)
        mean = between.mean.float()
        for index, (image, pixels) in enumerate(self._images(source)):
            given = {OWN: None, EXCHANGED: queries[(index + count // 2) % count], MEAN: mean, UNSTEERED: None}
            labels = {kind: self._label(pixels, given[kind], kind == UNSTEERED) for kind in kinds}
            for kind, prediction in labels.items():
                assert image.labels is not None
                scorers[kind].update(prediction, None, image.labels, image.stem)
            for kind in changed:
                changed[kind] += float((labels[kind] != labels[OWN]).mean()) / count
        mious = {kind: scorer.miou for kind, scorer in scorers.items()}
        return QueryReport(count, between.share(), mious, changed, perplexity)

    @torch.no_grad()
    def _queries(self, source: EvaluationSource) -> tuple[BetweenImages, list[Tensor], list[float]]:
        between, of_images, perplexities = BetweenImages(), [], []
        for rein in self._reins:  # the set before may have ended without its tokens
            rein.steered = True
        for _, pixels in self._images(source):
            normalised = (shrink(pixels, self._graph.size) - self._graph.mean) / self._graph.std
            features = self._graph.model.backbone(normalised)
            queries = self._own(features)
            between.update(queries)
            of_images.append(queries[0].cpu())
            if isinstance(self._own, AgentQueries):
                perplexities.append([perplexity_share(weights) for weights in self._own.attention(features)])
        return between, of_images, np.mean(perplexities, 0).tolist() if perplexities else []

    def _images(self, source: EvaluationSource) -> Iterator[tuple[LabelledImage, Tensor]]:
        for image, _ in each(source.pairs.read, range(len(source.pairs)), self._workers):
            yield image, torch.from_numpy(np.ascontiguousarray(image.image))[None].to(self._device)

    @torch.no_grad()
    def _label(self, pixels: Tensor, queries: Tensor | None, unsteered: bool) -> np.ndarray:
        self._given.queries = None if queries is None else queries[None].to(self._device)
        for rein in self._reins:
            rein.steered = not unsteered
        labels: np.ndarray = self._graph(pixels)[0][0].cpu().numpy()
        return labels


class _Given(nn.Module):
    """Give the student its own agent queries, or others."""

    def __init__(self, own: nn.Module) -> None:
        super().__init__()
        self.own = own
        self.queries: Tensor | None = None

    def forward(self, features: list[Tensor]) -> Any:
        return self.own(features) if self.queries is None else self.queries


def query_table(title: str | Path, reports: dict[str, QueryReport]) -> Table:
    """Return a table with a column for each domain."""
    table = Table(title=f"{title}: agent queries, %", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in reports:
        table.add_column(name.replace("_", " "), justify="right")
    found = list(reports.values())
    table.add_row("variance between images", *(f"{100 * each.share_between_images:.3g}" for each in found))
    for kind in found[0].miou:
        table.add_row(f"mIoU, {kind}", *(percent(each.miou[kind]) for each in found))
    for kind in found[0].changed:
        table.add_row(f"cost of {kind} (labels changed)", *(_cost(each, kind) for each in found))
    for layer in range(len(found[0].perplexity)):
        name = f"pixels that Eq. 3 spreads over, layer {layer + 1}"
        table.add_row(name, *(percent(each.perplexity[layer]) for each in found))
    return table


def _cost(report: QueryReport, kind: str) -> str:
    cost = report.cost(kind)
    return f"{'-' if cost is None else f'{100 * cost:.2f}'} ({100 * report.changed[kind]:.2f})"
