from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import querydiff_core
from querydiff_core.build import build_model
from querydiff_core.cli.export import main as export
from querydiff_core.data.street_scenes import render_scene
from querydiff_core.deployment.checkpoint import load_checkpoint, save_checkpoint
from querydiff_core.deployment.metadata import METADATA_KEY, ModelMetadata
from querydiff_core.deployment.segmenter import Segmenter
from querydiff_core.errors import QueryDiffError


def metadata(**changes):
    return ModelMetadata(
        **{"variant": "tiny", "input_size": (64, 128), "mean": (0.5,) * 3, "std": (0.2,) * 3, **changes}
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    model = build_model("tiny")
    save_checkpoint(model, metadata(mean=model.mean, std=model.std), path)
    return path


@pytest.fixture(scope="module")
def engine(checkpoint):
    path = checkpoint.with_name("tiny.onnx")
    assert export([str(checkpoint), "--output", str(path)]) == 0
    return path


def test_a_checkpoint_keeps_weights_to_half_precision_and_drops_the_training_head(checkpoint):
    torch.manual_seed(0)
    fresh = build_model("tiny").state_dict()
    loaded, found = load_checkpoint(checkpoint)
    assert found.variant == "tiny"
    assert not any(name.startswith("pixel_head.") for name in loaded.state_dict())
    for name, value in loaded.state_dict().items():
        assert torch.allclose(value.float(), fresh[name].float(), rtol=1e-3, atol=1e-3), name


@pytest.mark.parametrize("size", [(64, 128), (97, 131), (360, 640), (1, 1), (5, 300)])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_exported_engine_agrees_with_the_checkpoint(checkpoint, engine, size, batch):
    images = np.stack([render_scene(seed, (max(size[0], 64), max(size[1], 64))).image for seed in range(batch)])
    images = np.ascontiguousarray(images[:, : size[0], : size[1]])
    eager, exported = Segmenter.load(checkpoint, device="cpu")(images), Segmenter.load(engine)(images)
    assert eager.labels.shape == exported.labels.shape == (batch, *size)
    assert (eager.labels == exported.labels).mean() > 0.99
    difference = np.abs(eager.confidence.astype(int) - exported.confidence)
    assert np.percentile(difference, 99) <= 2


def test_export_keeps_the_metadata_and_can_change_the_size(checkpoint, tmp_path):
    assert export([str(checkpoint), "--output", str(tmp_path / "wide.onnx"), "--size", "96x160"]) == 0
    segmenter = Segmenter.load(tmp_path / "wide.onnx")
    assert segmenter.metadata.input_size == (96, 160)
    assert segmenter.metadata.versions["torch"] == torch.__version__
    assert segmenter.metadata.mean == load_checkpoint(checkpoint)[1].mean


def test_an_engine_tells_nothing_of_the_machine_that_made_it(engine):
    assert str(Path(querydiff_core.__file__).parent).encode() not in engine.read_bytes()


def test_a_checkpoint_can_be_run_at_another_size_and_in_windows(checkpoint):
    image = render_scene(3, (128, 256)).image
    small = Segmenter.load(checkpoint, device="cpu")(image)
    large = Segmenter.load(checkpoint, device="cpu", size=(128, 256))(image)
    windows = Segmenter.load(checkpoint, device="cpu", window=(64, 128), stride=(64, 64))(image)
    assert small.labels.shape == large.labels.shape == windows.labels.shape == (128, 256)


def damage(path, checkpoint, kind):
    weights = load_file(checkpoint)
    meta = {METADATA_KEY: metadata().to_json()}
    if kind == "truncated":
        path.write_bytes(checkpoint.read_bytes()[:-1000])
    elif kind == "pickle":
        torch.save(weights, path)
    elif kind == "foreign":
        save_file(weights, path)
    elif kind == "unknown variant":
        save_file(weights, path, {METADATA_KEY: metadata(variant="huge").to_json()})
    elif kind == "future":
        save_file(weights, path, {METADATA_KEY: metadata(format_version=2).to_json()})
    elif kind == "missing weight":
        weights.pop("mask_decoder.class_head.weight")
        save_file(weights, path, meta)
    else:
        name = "mask_decoder.class_head.weight"
        save_file(weights | {name: weights[name][:1].contiguous()}, path, meta)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "No model file"),
        ("truncated", "not a readable safetensors"),
        ("pickle", "not a readable safetensors"),
        ("foreign", "not made by this project"),
        ("unknown variant", "huge"),
        ("future", "format version 2"),
        ("missing weight", "does not fit"),
        ("wrong shape", "does not fit"),
    ],
)
def test_a_bad_checkpoint_is_one_sentence(tmp_path, checkpoint, kind, says):
    path = tmp_path / "bad.safetensors"
    if kind != "missing":
        damage(path, checkpoint, kind)
    with pytest.raises(QueryDiffError, match=says) as failure:
        Segmenter.load(path, device="cpu")
    assert "\n" not in str(failure.value)


def test_an_absent_gpu_is_one_sentence(checkpoint):
    with pytest.raises(QueryDiffError, match="cuda:63"):
        Segmenter.load(checkpoint, device="cuda:63")
