"""The mIoU of validation against the one of evaluation, which is counted with numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.label_space import label_mapping
from querydiff_core.training.merged_iou import MergedIoU


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(["train_ids", "camvid", "carla_0_9_13", "idd_lite"]), seed=st.integers(0, 2**16))
def test_equals_the_score_of_evaluation(name: str, seed: int) -> None:
    mapping = label_mapping(name)
    random = np.random.default_rng(seed)
    prediction = random.integers(0, 19, (2, 8, 9)).astype(np.uint8)
    known = np.append(np.flatnonzero(mapping.score_table[:19] != 255), 255).astype(np.uint8)
    ground_truth = random.choice(known, (2, 8, 9))
    expected = Scorer(mapping)
    expected.update(prediction, None, ground_truth, "image")
    score = MergedIoU(mapping)
    score.update(torch.from_numpy(prediction).long(), torch.from_numpy(ground_truth).long())
    assert score.compute().item() == pytest.approx(expected.miou, nan_ok=True)
