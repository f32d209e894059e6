"""Training crops: image and labels stay together, whatever is drawn."""

import numpy as np
import pytest
import torch

from querydiff_core.data.data_source import DataSource
from querydiff_core.data.datamodule import SegmentationData
from querydiff_core.data.transforms import TrainingTransform, _distortion
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.image_files import write_image


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


def test_crops_that_one_class_fills_are_drawn_again():
    labels = torch.zeros(128, 512, dtype=torch.uint8)
    labels[:, 400:] = torch.arange(4, dtype=torch.uint8).repeat_interleave(28)
    image = torch.zeros(3, 128, 512, dtype=torch.uint8)

    def filled(**options):
        transform = TrainingTransform((64, 64), scale=(1.0, 1.0), photometric=0.0, **options)
        torch.manual_seed(0)
        crops = [transform(image, labels)[1] for _ in range(60)]
        return sum(int(max((crop == c).float().mean() for c in range(4)) >= 0.75) for crop in crops)

    assert filled() > 45
    assert filled(cat_max_ratio=0.75) < 20  # of ten draws each, about an eighth would do
    with pytest.raises(QueryDiffError, match=r"cat_max_ratio must be above 0 and at most 1, found 1\.5"):
        TrainingTransform(cat_max_ratio=1.5)


def test_the_hue_turns_as_far_as_it_may():
    """Of 300 crops of a red image, the largest turn: the second channel over the first, in sixths of the circle."""
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[0], image[1:] = 250, 50  # saturated, and enough of the others to stay so
    turns = {}
    for hue in (0.05, 0.1):
        jitter = _distortion(1.0, hue).transforms[3]
        torch.manual_seed(0)
        crops = [jitter(image).float().mean((1, 2)) for _ in range(300)]
        turns[hue] = max(float((c[1:].amax() - c.amin()) / (c[0] - c.amin())) for c in crops) / 6
    assert turns == pytest.approx({0.05: 0.05, 0.1: 0.1}, rel=0.1)


def test_images_fit_into_a_box_either_way_up(tmp_path):
    for name, size in (("a", (30, 40)), ("b", (40, 30)), ("c", (10, 40))):
        write_image(tmp_path / "images" / f"{name}.png", np.zeros((*size, 3), np.uint8))
        write_image(tmp_path / "labels" / f"{name}.png", np.zeros(size, np.uint8))
    source = DataSource(str(tmp_path), size=(64, 128), fitted=True)
    data = SegmentationData([DataSource(str(tmp_path))], {"x": source}, workers=0)
    found = [tuple(image.shape[2:]) for image, _ in data.val_dataloader()[0]]
    assert found == [(64, 85), (85, 64), (32, 128)]
    with pytest.raises(QueryDiffError, match="fitted needs a size"):
        DataSource(str(tmp_path), size=0.5, fitted=True)
