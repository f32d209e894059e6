"""The segmentation loss: exact where it can be, and trained against where it is sampled."""

import math

import pytest
import torch

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
    losses = SegmentationLoss(CLASSES, points=points)(output(masks, classes, layers=3), torch.full((1, 1024, 1024), 3))
    probability = 1 / (1 + math.exp(-logit))
    dice = 1 - (2 * points * probability + 1) / (points * probability + points + 1)
    assert losses["bce"].item() == pytest.approx(3 * softplus(-logit), rel=0.01)
    assert losses["dice"].item() == pytest.approx(3 * dice, rel=0.01)
    assert losses["class"].item() == pytest.approx(3 * math.log(CLASSES + 1), rel=1e-5)
    expected = 5 * losses["bce"] + 5 * losses["dice"] + 2 * losses["class"]
    torch.testing.assert_close(losses["loss"], expected)


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
