"""Agent queries measured on a trained student, against predictions made by hand."""

import json

import numpy as np
import pytest
import torch
from engines import write_pixel_engine
from students import SIZE, write_student

from querydiff_core.cli import evaluate
from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.evaluation_source import folder_source
from querydiff_core.evaluation.query_exchange import EXCHANGED, MEAN, UNSTEERED, QueryExchange
from querydiff_core.inference.checkpoint import load_checkpoint, save_checkpoint
from querydiff_core.inference.engine import EngineOptions
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.models.agent_queries import LearnedQueries
from querydiff_core.models.build import build_model
from querydiff_core.street_scenes import render_scene
from querydiff_core.utils.image_files import write_image

OVERRIDES = {"scheme": "rein", "query_source": "tokens"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for seed in range(4):
        scene = render_scene(seed, SIZE)
        write_image(root / "images" / f"{seed}.png", scene.image)
        write_image(root / "labels" / f"{seed}.png", scene.labels)
    return root


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("student") / "tiny.safetensors")


def source_of(scenes):
    return folder_source("scenes", scenes / "images", str(scenes / "labels"), "train_ids")


class Fixed(torch.nn.Module):
    def __init__(self, queries):
        super().__init__()
        self.queries = queries

    def forward(self, features):
        return self.queries


@torch.no_grad()
def test_exchanged_queries_are_those_of_the_image_half_the_set_away(scenes, student):
    report = QueryExchange(EngineOptions(model=student, device="cpu"), workers=0)(source_of(scenes))
    model, metadata = load_checkpoint(student)
    graph = SegmentationGraph(model, metadata.input_size)
    images = [torch.from_numpy(image.image)[None] for image in source_of(scenes).pairs]
    own = [graph(image)[0] for image in images]
    normalised = [(image.permute(0, 3, 1, 2).float() - graph.mean) / graph.std for image in images]
    queries = [model(each).agent_queries for each in normalised]
    changed = {EXCHANGED: [], MEAN: []}
    for index, image in enumerate(images):
        for kind, given in ((EXCHANGED, queries[(index + 2) % 4]), (MEAN, torch.stack(queries).mean(0))):
            model.agent_queries = Fixed(given)
            changed[kind].append(float((graph(image)[0] != own[index]).float().mean()))
    assert report.changed == pytest.approx({kind: np.mean(each) for kind, each in changed.items()}, abs=1e-6)
    assert report.images == 4
    assert len(report.perplexity) == 4
    assert all(0 < share <= 1 for share in report.perplexity)
    q = torch.cat(queries).double()
    total = (q - q.mean((0, 1))).square().sum()
    assert report.share_between_images == pytest.approx(float((q - q.mean(0)).square().sum() / total), rel=1e-4)


def test_constant_queries_hold_no_image_and_cost_nothing(scenes, student):
    exchange = QueryExchange(EngineOptions(model=student, device="cpu"), workers=0)
    exchange._own = exchange._given.own = LearnedQueries(64, 20)
    report = exchange(source_of(scenes))
    assert report.share_between_images == 0
    assert report.perplexity == []
    assert report.cost(EXCHANGED) == report.cost(MEAN) == 0
    assert report.changed == {EXCHANGED: 0, MEAN: 0}


def test_what_tokens_steer_is_measured(scenes, student, tmp_path):
    """Queries made of Rein's tokens are constants; with W_f at 0 their steering does nothing, else it does."""
    changed = {}
    for strength in (0.0, 0.5):
        torch.manual_seed(0)
        model = build_model("tiny", **OVERRIDES)
        trained = load_checkpoint(student)[0].state_dict()
        model.load_state_dict({k: v for k, v in trained.items() if not k.startswith("agent_queries.")}, strict=False)
        for rein in model.backbone.reins:
            torch.nn.init.eye_(rein.feature_maps[0].weight).data.mul_(strength)
        metadata = ModelMetadata("tiny", SIZE, model.mean, model.std, overrides=OVERRIDES)
        save_checkpoint(model, metadata, tmp_path / "tokens.safetensors")
        exchange = QueryExchange(EngineOptions(model=tmp_path / "tokens.safetensors", device="cpu"))
        report = exchange(source_of(scenes))
        assert exchange._reins[0].steered is False
        exchange._queries(source_of(scenes))  # of the next domain
        assert exchange._reins[0].steered is True
        assert report.share_between_images == 0
        assert report.changed[EXCHANGED] == report.changed[MEAN] == 0
        changed[strength] = report.changed[UNSTEERED]
    assert changed[0.0] == 0
    assert changed[0.5] > 0.01


def test_the_command_adds_what_it_finds_to_the_result(scenes, student, tmp_path, capsys):
    output = tmp_path / "result.json"
    arguments = [str(student), "--images", str(scenes), "--queries", "--workers", "0", "--output", str(output)]
    assert evaluate.main(arguments) == 0
    (domain,) = json.loads(output.read_text())["domains"]
    found = domain["extra"]["agent_queries"]
    assert found["miou"]["own"] == pytest.approx(domain["miou"], abs=1e-9)  # that of the segmenter
    assert f"{100 * found['share_between_images']:.3g}" in capsys.readouterr().out
    assert Segmenter.load(student, device="cpu") is not None


def test_what_cannot_be_measured_is_refused(scenes, student, tmp_path):
    with pytest.raises(QueryDiffError, match=r"give a checkpoint .*pixel.onnx"):
        QueryExchange(EngineOptions(model=write_pixel_engine(tmp_path / "pixel.onnx")))
    with pytest.raises(QueryDiffError, match="leave out --preset paper"):
        evaluate.main([str(student), "--images", str(scenes), "--queries", "--flip"])
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes((scenes / name / "0.png").read_bytes())
    with pytest.raises(QueryDiffError, match="one image"):
        QueryExchange(EngineOptions(model=student, device="cpu"))(source_of(tmp_path))
