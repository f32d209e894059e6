"""What a run draws: the same from the same seed, wherever it begins and however many share it."""

import itertools
from collections import Counter

import numpy as np
import pytest

from querydiff_core.data.samplers import BatchSampler, RareClassImages, Sampler
from querydiff_core.errors import QueryDiffError


def take(sampler, count):
    return list(itertools.islice(sampler, count))


def test_draws_are_a_function_of_the_seed():
    sampler = Sampler([5, 3], [5, 3], seed=1)
    assert take(sampler, 50) == take(sampler, 50)
    assert take(sampler, 50) != take(Sampler([5, 3], [5, 3], seed=2), 50)


def test_a_source_gives_every_image_once_a_round():
    images = [sample.image for sample in take(Sampler([7], [1.0]), 21)]
    assert [sorted(images[i : i + 7]) for i in (0, 7, 14)] == [list(range(7))] * 3
    assert images[:7] != images[7:14]


def test_sources_are_mixed_by_weight_whatever_their_size():
    sources = Counter(sample.source for sample in take(Sampler([1000, 2], [1.0, 3.0]), 4000))
    assert sources[1] / 4000 == pytest.approx(0.75, abs=0.03)


def test_a_run_that_goes_on_draws_what_was_left():
    sampler = Sampler([11, 4], [11, 4], seed=3)
    whole = list(BatchSampler(sampler, 2, batches=9))
    assert list(BatchSampler(sampler, 2, batches=9, start=5)) == whole[5:]
    assert [sample.number for batch in whole for sample in batch] == list(range(18))


def test_processes_share_the_batches_of_one():
    sampler = Sampler([11, 4], [11, 4], seed=3)
    alone = list(BatchSampler(sampler, 4, batches=6))
    shares = [list(BatchSampler(sampler, 2, batches=6, process=process, processes=2)) for process in (0, 1)]
    assert [first + second for first, second in zip(*shares, strict=True)] == alone


def test_rare_classes_are_drawn_more_often_and_the_image_has_them():
    pixels = np.zeros((50, 19), np.int64)
    pixels[:, 0], pixels[:, 1] = 9000, 900
    pixels[7, 12] = 100  # a hundredth of one image, one 50th of the images
    for sample in take(Sampler([50], [1.0], class_pixels=[pixels]), 200):
        assert pixels[sample.image, sample.rare_class] > 0
    share = Counter(sample.image for sample in take(Sampler([50], [1.0], class_pixels=[pixels]), 2000))[7] / 2000
    assert share > 0.4
    assert set(RareClassImages(pixels).classes) == {0, 1, 12}


def test_the_probabilities_of_classes_are_daformers():
    pixels = np.array([[900, 95, 5]], np.int64)
    frequency = np.array([0.9, 0.095, 0.005])
    expected = np.exp((1 - frequency) / 0.5) / np.exp((1 - frequency) / 0.5).sum()
    np.testing.assert_allclose(RareClassImages(pixels, temperature=0.5).probabilities, expected)


def test_an_image_with_a_stray_pixel_of_a_class_is_not_drawn_for_it():
    pixels = np.array([[100_000, 1], [100_000, 5000]], np.int64)
    random = np.random.default_rng(0)
    drawn = [RareClassImages(pixels).draw(random) for _ in range(50)]
    assert {image for image, rare_class in drawn if rare_class == 1} == {1}


def test_a_source_without_labels_is_refused():
    with pytest.raises(QueryDiffError, match="none"):
        RareClassImages(np.zeros((4, 19), np.int64))
