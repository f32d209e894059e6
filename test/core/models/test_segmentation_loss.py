"""The segmentation loss: exact where it can be, and trained against where it is sampled."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querydiff_core.models.querydiff import QueryDiffOutput, semantic_probabilities
from querydiff_core.models.segmentation_loss import SegmentationLoss, pixel_loss

CLASSES, R = 5, 4


def output(masks: torch.Tensor, classes: torch.Tensor, layers: int = 1) -> QueryDiffOutput:
    return QueryDiffOutput([masks] * layers, [classes] * layers, masks, None)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_equals_the_formulas_where_sampling_cannot_matter() -> None:
    # One class fills the image and every mask is flat, so each point tells the same but at the very border, where
    # sampling meets the zeros around the image: large masks make that rare.
    points, logit = 64, 0.7
    masks = torch.full((1, R, 1024, 1024), -3.0)
    masks[:, 2] = logit
    classes = torch.zeros(1, R, CLASSES + 1)
    labels = torch.full((1, 1024, 1024), 3)
    losses = SegmentationLoss(CLASSES, points=points)(output(masks, classes, layers=3), labels, seed=1)
    probability = 1 / (1 + math.exp(-logit))
    dice = 1 - (2 * points * probability + 1) / (points * probability + points + 1)
    assert losses["bce"].item() == pytest.approx(3 * softplus(-logit), rel=0.01)
    assert losses["dice"].item() == pytest.approx(3 * dice, rel=0.01)
    assert losses["class"].item() == pytest.approx(3 * math.log(CLASSES + 1), rel=1e-5)
    expected = 5 * losses["bce"] + 5 * losses["dice"] + 2 * losses["class"]
    torch.testing.assert_close(losses["loss"], expected)


class Reference:
    """Eq. 13 in numpy and float64, one image, mask and point at a time, and the best of all matchings by trying them.

    Where points lie is Mask2Former's: drawn from the seed for matching; for the losses three times as many, of which
    three quarters of what is wanted are those where a mask is least certain, the rest shared by all masks.
    """

    def __init__(self, seed: int, points: int, weights: tuple[float, float, float]) -> None:
        self.bce, self.dice, self.cls = weights
        torch.manual_seed(seed)
        self.matching = torch.rand(1, points // 2, 2)[0].numpy().astype(np.float64)
        generator = torch.Generator().manual_seed(seed)
        self.candidates = torch.rand(3 * points, 2, generator=generator).numpy().astype(np.float64)
        self.uncertain = int(0.75 * points)
        self.shared = torch.rand(points - self.uncertain, 2, generator=generator).numpy().astype(np.float64)

    def sampled(self, image: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return an image between its pixels' centres, (x, y) in 0..1, with zeros around it."""
        padded = np.pad(image.astype(np.float64), 1)
        values = []
        for x, y in points * image.shape[::-1] + 0.5:
            left, top = int(x), int(y)
            window = padded[top : top + 2, left : left + 2]
            values.append([1 - (y - top), y - top] @ window @ [1 - (x - left), x - left])
        return np.array(values)

    def mask_terms(self, mask: np.ndarray, target: np.ndarray, points: np.ndarray) -> tuple[float, float]:
        logits, truth = self.sampled(mask, points), self.sampled(target, points)
        p = 1 / (1 + np.exp(-logits))
        bce = -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()
        return bce, 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)

    def match(self, masks: np.ndarray, classes: np.ndarray, targets: dict[int, np.ndarray]) -> dict[int, int]:
        """Return the query of each class that is there, of least cost in total."""
        costs = {}
        for query, (mask, logits) in enumerate(zip(masks, classes, strict=True)):
            for label, target in targets.items():
                bce, dice = self.mask_terms(mask, target, self.matching)
                probability = np.exp(logits[label]) / np.exp(logits).sum()
                costs[query, label] = self.bce * bce + self.dice * dice - self.cls * probability
        options = [dict(zip(targets, chosen, strict=True)) for chosen in permutations(range(len(masks)), len(targets))]
        return min(options, key=lambda matched: sum(costs[query, label] for label, query in matched.items()))

    def layer(self, masks: np.ndarray, classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return L_bce, L_dice and L_cls of one decoder layer."""
        terms, entropy, weight = [], 0.0, 0.0
        for mask, logits, label in zip(masks, classes, labels, strict=True):
            halves = label.reshape(label.shape[0] // 2, 2, label.shape[1] // 2, 2)
            targets = {int(each): (halves == each).mean((1, 3)) for each in np.unique(label)}
            matched = self.match(mask, logits, targets)
            for each, query in matched.items():
                order = np.argsort(np.abs(self.sampled(mask[query], self.candidates)))[: self.uncertain]
                points = np.concatenate([self.candidates[order], self.shared])
                terms.append(self.mask_terms(mask[query], targets[each], points))
            wanted = {query: each for each, query in matched.items()}
            for query, row in enumerate(logits):
                w = 1.0 if query in wanted else 0.1
                entropy -= w * (row[wanted.get(query, CLASSES)] - np.log(np.exp(row).sum()))
                weight += w
        return np.array([*np.mean(terms, 0), entropy / weight])


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 2),
    queries=st.integers(3, 5),
    layers=st.integers(1, 2),
    size=st.tuples(st.integers(2, 5), st.integers(2, 5)),
    present=st.integers(1, 3),
    weights=st.sampled_from([(5.0, 5.0, 2.0), (1.0, 0.5, 3.0)]),
)
def test_equals_equation_13(
    seed: int,
    batch: int,
    queries: int,
    layers: int,
    size: tuple[int, int],
    present: int,
    weights: tuple[float, float, float],
) -> None:
    torch.manual_seed(seed)
    masks = [2 * torch.randn(batch, queries, *size) for _ in range(layers)]
    classes = [torch.randn(batch, queries, CLASSES + 1) for _ in range(layers)]
    labels = torch.randint(CLASSES - present, CLASSES, (batch, 4 * size[0], 4 * size[1]))
    loss = SegmentationLoss(CLASSES, bce_weight=weights[0], dice_weight=weights[1], class_weight=weights[2], points=16)
    found = loss(QueryDiffOutput(masks, classes, masks[-1], None), labels, seed=seed)
    reference = Reference(seed, 16, weights)
    expected = sum(
        reference.layer(mask.double().numpy(), logits.double().numpy(), labels.numpy())
        for mask, logits in zip(masks, classes, strict=True)
    )
    np.testing.assert_allclose([float(found[name]) for name in ("bce", "dice", "class")], expected, rtol=1e-4)
    assert float(found["loss"]) == pytest.approx(float(np.dot(weights, expected)), rel=1e-4)


def test_matches_the_query_that_fits_and_calls_the_others_no_object() -> None:
    masks = torch.full((1, R, 64, 64), -8.0)
    masks[:, 1, :, :32], masks[:, 3, :, 32:] = 8.0, 8.0
    labels = torch.zeros(1, 256, 256, dtype=torch.long)
    labels[:, :, 128:] = 4
    right = torch.full((1, R, CLASSES + 1), -20.0)
    right[0, [0, 1, 2, 3], [CLASSES, 0, CLASSES, 4]] = 20.0
    loss = SegmentationLoss(CLASSES)
    assert loss(output(masks, right), labels)["loss"] < 0.5
    swapped = right[:, [0, 3, 2, 1]]
    assert loss(output(masks, swapped), labels)["loss"] > 5


def test_unlabelled_pixels_count_for_and_against_nothing() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, CLASSES, (2, 8, 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels[:, :32] = 255
    masks = torch.randn(2, R, 16, 16, requires_grad=True)
    classes = torch.randn(2, R, CLASSES + 1)
    loss = SegmentationLoss(CLASSES, points=256)

    def value(masks: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return loss(output(masks, classes), labels)["loss"]

    first = value(masks)
    first.backward()
    assert masks.grad[:, :, :8].abs().max() == 0
    assert masks.grad[:, :, 8:].abs().max() > 0
    elsewhere = torch.cat((10 * torch.randn(2, R, 8, 16), masks[:, :, 8:]), 2)
    torch.testing.assert_close(value(elsewhere), first)


def test_an_image_without_labels_changes_nothing() -> None:
    torch.manual_seed(0)
    masks, classes = torch.randn(2, R, 8, 8), torch.randn(2, R, CLASSES + 1)
    labels = torch.full((2, 32, 32), 255)
    labels[0] = 2
    loss = SegmentationLoss(CLASSES)
    torch.manual_seed(1)
    both = loss(output(masks, classes), labels)["loss"]
    torch.manual_seed(1)
    torch.testing.assert_close(loss(output(masks[:1], classes[:1]), labels[:1])["loss"], both)


def test_a_batch_without_labels_costs_nothing_and_still_trains() -> None:
    masks, classes = torch.randn(2, R, 8, 8, requires_grad=True), torch.randn(2, R, CLASSES + 1, requires_grad=True)
    pixels = torch.randn(2, CLASSES, 8, 8, requires_grad=True)
    losses = SegmentationLoss(CLASSES)(QueryDiffOutput([masks], [classes], masks, pixels), torch.full((2, 32, 32), 255))
    losses["loss"].backward()
    assert losses["loss"] == 0
    assert all(leaf.grad.abs().max() == 0 for leaf in (masks, classes, pixels))


def test_descending_it_finds_the_labels() -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, CLASSES, (2, 2, 2)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    labels[1, :5] = 255
    masks = torch.randn(2, 8, 8, 8, requires_grad=True)
    classes = torch.randn(2, 8, CLASSES + 1, requires_grad=True)
    optimiser = torch.optim.Adam((masks, classes), lr=0.3)
    loss = SegmentationLoss(CLASSES, points=128)
    for _ in range(60):
        optimiser.zero_grad()
        loss(output(masks, classes, layers=2), labels)["loss"].backward()
        optimiser.step()
    found = semantic_probabilities(output(masks, classes)).argmax(1)
    truth = labels[:, 2::4, 2::4]
    assert (found == truth)[truth != 255].float().mean() > 0.95


def test_the_pixel_loss_is_cross_entropy_over_labelled_pixels() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, CLASSES, 4, 4)
    labels = torch.randint(0, CLASSES, (1, 4, 4))
    labels[0, 0] = 255
    terms = [-logits[0, :, y, x].log_softmax(0)[labels[0, y, x]] for y in (1, 2, 3) for x in range(4)]
    torch.testing.assert_close(pixel_loss(logits, labels), torch.stack(terms).mean())
    flat = torch.tensor([1.0, 0, 0, 0, 0])[None, :, None, None].expand(1, CLASSES, 2, 2)
    expected = torch.tensor(math.log(math.e + 4) - 1)
    torch.testing.assert_close(pixel_loss(flat, torch.zeros(1, 8, 8, dtype=torch.long)), expected)


def test_the_auxiliary_head_adds_its_weighted_loss() -> None:
    torch.manual_seed(0)
    masks, classes = torch.randn(1, R, 8, 8), torch.randn(1, R, CLASSES + 1)
    with_head = QueryDiffOutput([masks], [classes], masks, torch.randn(1, CLASSES, 8, 8))
    losses = SegmentationLoss(CLASSES, auxiliary_weight=0.5)(with_head, torch.full((1, 32, 32), 1))
    expected = 5 * losses["bce"] + 5 * losses["dice"] + 2 * losses["class"] + 0.5 * losses["pixel"]
    torch.testing.assert_close(losses["loss"], expected)


def test_a_perfect_mask_costs_nothing_beside_unlabelled_pixels() -> None:
    """Three rows in four are unlabelled: most of each cell."""
    labels = torch.zeros(1, 128, 128, dtype=torch.long)
    labels[:, 64:] = 1
    masks = torch.full((1, R, 32, 32), -20.0)
    masks[:, 0, :16] = masks[:, 1, 16:] = 20.0
    classes = torch.zeros(1, R, CLASSES + 1)
    classes[..., CLASSES] = 20
    classes[:, 0, CLASSES] = classes[:, 1, CLASSES] = 0
    classes[:, 0, 0] = classes[:, 1, 1] = 20
    whole = SegmentationLoss(CLASSES)(output(masks, classes), labels, seed=0)
    labels[:, torch.arange(128) % 4 > 0] = 255
    sparse = SegmentationLoss(CLASSES)(output(masks, classes), labels, seed=0)
    assert whole["bce"] < 0.5
    assert sparse["bce"] <= whole["bce"]
