"""Training crops: image and labels stay together, whatever is drawn."""

import pytest
import torch

from querydiff_core.data.transforms import TrainingTransform


def blocks(rows=6, columns=8, side=16):
    """Return labels in blocks of one class, and an image whose three channels say the same."""
    torch.manual_seed(0)
    labels = torch.randint(0, 19, (rows, columns)).repeat_interleave(side, 0).repeat_interleave(side, 1)
    return labels.expand(3, -1, -1).clone().to(torch.uint8), labels.to(torch.uint8)


def parity(crop, labels):
    """Return the share of equal pixels where labelled; the borders of blocks blend in the image only."""
    equal = (crop[0].int() - labels.int()).abs() <= 1
    return equal[labels != 255].float().mean()


@pytest.mark.parametrize("size", [{"scale": (0.5, 1.5)}, {"short_side": (48, 160)}])
def test_crops_keep_image_and_labels_together(size):
    image, labels = blocks()
    transform = TrainingTransform((64, 64), photometric=0.0, **size)
    seen = set()
    for _ in range(20):
        crop, crop_labels = transform(image, labels)
        assert crop.shape == (3, 64, 64)
        assert crop_labels.shape == (64, 64)
        assert crop.dtype == crop_labels.dtype == torch.uint8
        assert parity(crop, crop_labels) > 0.7
        seen.add(crop_labels.numpy().tobytes())
    assert len(seen) == 20


def test_the_short_side_says_how_large_things_look():
    image, labels = blocks(rows=4, columns=8, side=32)  # 128 x 256
    _, crop_labels = TrainingTransform((32, 32), (32, 32), aspect=(1, 1), photometric=0.0)(image, labels)
    assert len(crop_labels.unique()) > 4  # a crop of the whole height: four rows of blocks
    _, near = TrainingTransform((32, 32), (512, 512), aspect=(1, 1), photometric=0.0)(image, labels)
    assert len(near.unique()) <= 4  # a quarter of a block a pixel: at most the corner of four blocks


def test_what_lies_outside_a_small_image_is_black_and_unlabelled():
    image, labels = torch.full((3, 40, 80), 200, dtype=torch.uint8), torch.full((40, 80), 7, dtype=torch.uint8)
    crop, crop_labels = TrainingTransform((64, 64), (32, 32), aspect=(1, 1), photometric=0.0)(image, labels)
    assert (crop_labels == 7).float().mean() == pytest.approx(0.5, abs=0.02)
    assert (crop_labels == 255).float().mean() == pytest.approx(0.5, abs=0.02)
    assert (crop[:, crop_labels == 255] < 110).all()  # black, but for the blended border
    assert (crop[:, 2:28, 2:60] == 200).all()


def test_a_crop_drawn_for_a_rare_class_holds_it():
    image, labels = torch.zeros(3, 128, 512, dtype=torch.uint8), torch.zeros(128, 512, dtype=torch.uint8)
    labels[40:60, 100:120] = 12
    transform = TrainingTransform((64, 64), scale=(1.0, 1.0), photometric=0.0)
    torch.manual_seed(0)
    with_it = sum((transform(image, labels, 12)[1] == 12).any() for _ in range(40))
    without = sum((transform(image, labels)[1] == 12).any() for _ in range(40))
    assert with_it > 2 * without


def test_the_photometric_distortion_leaves_labels_alone():
    image, labels = torch.full((3, 40, 40), 100, dtype=torch.uint8), torch.full((40, 40), 7, dtype=torch.uint8)
    crops = [TrainingTransform((32, 32))(image, labels) for _ in range(10)]
    assert all((crop_labels == 7).all() for _, crop_labels in crops)
    assert any((crop != 100).any() for crop, _ in crops)


def test_a_corruption_changes_the_picture_and_leaves_size_and_labels_alone():
    image, labels = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8), torch.full((64, 64), 7, dtype=torch.uint8)
    options = {"scale": (1.0, 1.0), "aspect": (1.0, 1.0), "photometric": 0.0}
    changed = []
    for seed in range(40):
        torch.manual_seed(seed)
        clean, _ = TrainingTransform((64, 64), **options)(image, labels)
        torch.manual_seed(seed)
        crop, crop_labels = TrainingTransform((64, 64), corruption=1.0, **options)(image, labels)
        assert crop.shape == clean.shape
        assert crop.dtype == torch.uint8
        assert (crop_labels == 7).all()
        changed.append(float((crop.float() - clean.float()).abs().mean()))
    assert sum(change > 2 for change in changed) >= 30  # some change little: random pixels have full contrast already
