import numpy as np
import pytest
from paths import CAMVID

from querydiff_core.data.labelled_folder import LabelledFolder
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.inference.engine import default_model
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.label_space import cityscapes, label_mapping
from querydiff_core.street_scenes import CONDITIONS, render_scene

CAMVID_VAL = CAMVID / "val"


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.load()


def test_the_default_is_small_and_says_how_it_was_made(segmenter):
    checkpoint = default_model().with_suffix(".safetensors")
    assert default_model().stat().st_size <= 16_000_000
    assert checkpoint.stat().st_size <= 16_000_000
    made = Segmenter.load(checkpoint, device="cpu").metadata
    for metadata in (made, segmenter.metadata):
        assert metadata.variant == "small"
        assert metadata.label_space == cityscapes()
        assert metadata.recipe["steps"] > 0
        assert metadata.commit


def test_engine_and_checkpoint_are_the_same_model(segmenter):
    images = np.stack([render_scene(seed, condition=name).image for seed, name in enumerate(CONDITIONS)])
    checkpoint = Segmenter.load(default_model().with_suffix(".safetensors"), device="cpu")
    assert (segmenter(images).labels == checkpoint(images).labels).mean() > 0.995


def test_it_has_learned_streets_in_every_condition(segmenter):
    for condition in CONDITIONS:
        scorer = Scorer(label_mapping("train_ids"))
        for seed in range(8_000_000, 8_000_004):
            scene = render_scene(seed, condition=condition)
            scorer.update(segmenter(scene.image).labels, None, scene.labels, str(seed))
        assert scorer.pixel_accuracy > 0.6, condition


@pytest.mark.skipif(not CAMVID_VAL.is_dir(), reason="CamVid's validation half is not on this machine")
def test_it_sees_roads_and_skies_of_real_streets(segmenter):
    scorer = Scorer(label_mapping("camvid"))
    folder = LabelledFolder(CAMVID_VAL, mapping=label_mapping("camvid"))
    for index in range(0, len(folder), 10):
        image, labels, stem = folder[index]
        scorer.update(segmenter(image).labels, None, labels, stem)
    assert scorer.iou_by_class["road"] > 0.8
    assert scorer.iou_by_class["sky"] > 0.8
