"""Data, weights and machines that a run cannot use are said at once, in a sentence with its remedy."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from students import TRAINED

from querydiff_core.cli.fit import in_one_sentence
from querydiff_core.data.data_source import DataSource
from querydiff_core.data.datamodule import SegmentationData
from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.checkpoint import load_checkpoint, save_weights
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.training.distillation import TeacherOptions
from querydiff_core.training.save_student import _commit, _recipe
from querydiff_core.utils.image_files import write_image


def labelled(root, *values):
    """Write an image for each value, all of whose pixels are labelled with it; None for an image without labels."""
    for index, value in enumerate(values):
        write_image(root / "images" / f"{index}.png", np.zeros((8, 8, 3), np.uint8))
        if value is not None:
            write_image(root / "labels" / f"{index}.png", np.full((8, 8), value, np.uint8))
    return DataSource(str(root))


def set_up(train, **validation):
    data = SegmentationData([train], validation, workers=0)
    data.setup("fit")
    return data


def test_sources_that_teach_or_tell_nothing_are_refused_before_the_first_step(tmp_path):
    good, some = labelled(tmp_path / "good", 0), labelled(tmp_path / "some", 255, 255, 3)
    blank, plain = labelled(tmp_path / "blank", 255, 255), labelled(tmp_path / "plain", None)
    assert list(set_up(some, a=good, b=some).validation_mappings) == ["a", "b"]
    for train, validation in ((blank, good), (good, blank)):
        with pytest.raises(QueryDiffError, match=r"No pixel of .*blank has a class in the mapping train_ids"):
            set_up(train, a=good, b=validation)
    for train, validation in ((plain, good), (good, plain)):
        with pytest.raises(QueryDiffError, match=r"plain has no labels: training and validation need one for every"):
            set_up(train, a=good, b=validation)


def test_a_student_is_saved_where_there_is_no_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert _commit() == ""


def test_a_score_that_is_no_number_stays_out_of_the_students_metadata():
    metrics = {"miou/a": torch.tensor(0.5), "miou/b": torch.tensor(float("nan"))}
    trainer = SimpleNamespace(global_step=1, world_size=1, callback_metrics=metrics)
    recipe = _recipe(trainer, SimpleNamespace(identity={}, data=SimpleNamespace(identity={})))
    assert recipe["metrics"] == {"miou/a": 0.5}
    json.dumps(recipe, allow_nan=False)


def test_a_student_keeps_what_half_precision_cannot_hold(tmp_path):
    model, metadata = load_checkpoint(TRAINED)
    state = model.state_dict()
    name = next(name for name, value in state.items() if value.is_floating_point() and value.numel() > 4)
    state[name].view(-1)[:3] = torch.tensor([1e6, -70000.0, 0.1])
    save_weights(state, metadata, tmp_path / "a.safetensors")
    kept = load_checkpoint(tmp_path / "a.safetensors")[0].state_dict()
    assert torch.equal(kept[name], state[name])
    assert all(torch.isfinite(value).all() for value in kept.values())
    before = (tmp_path / "a.safetensors").read_bytes()
    for wrong in (float("inf"), float("nan")):
        state[name].view(-1)[0] = wrong
        with pytest.raises(QueryDiffError, match=rf"{name} holds values that are not finite"):
            save_weights(state, metadata, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == before


def test_a_training_state_in_a_students_place_names_the_student(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    state = tmp_path / "run" / "checkpoints" / "last.ckpt"
    torch.save({"state_dict": {}}, state)
    for read in (load_checkpoint, Segmenter.load):
        with pytest.raises(QueryDiffError, match=rf"training state.* \({tmp_path}/run/student\.safetensors\)"):
            read(state)


def test_what_pytorch_says_is_said_with_the_remedy(tmp_path):
    def one_value():
        torch.nn.BatchNorm2d(3)(torch.zeros(1, 3, 1, 1))

    def raises(error):
        raise error

    shared = "unable to write to file </torch_123_4>: No space left on device (28)"
    bus = (
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of"
    )
    for fails, says in (
        (one_value, r"--data\.batch_size or --data\.crop, or, .* give --model\.frozen_batch_norm true"),
        (lambda: raises(RuntimeError(shared)), r"Shared memory \(/dev/shm\).*--shm-size.*--data\.workers 0"),
        (lambda: raises(RuntimeError(bus)), r"--data\.workers 0"),
        ((tmp_path / "no" / "run").mkdir, r"no/run: No such file or directory\): runs are written into `runs`"),
    ):
        with pytest.raises(QueryDiffError, match=says), in_one_sentence("advice"):
            fails()


def test_a_teacher_that_overflows_is_told_by_its_own_setting():
    assert "--model.teacher.precision bf16 or fp32" in TeacherOptions("x", precision="fp16").advice()
    assert not TeacherOptions("x", precision="bf16").advice()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be another user")
def test_a_user_without_name_and_home_is_told_what_to_set():
    code = "import os; from querydiff_core.utils.cache_folder import cache_folder; os.setuid(54321); cache_folder('x')"
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert "QueryDiffError: There is no home folder to keep a cache in: set QUERYDIFF_CACHE to a folder." in done.stderr
