"""Rein against its equations, and its tokens at work in real ViTs."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from querydiff_core.cli.export import main as export
from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.checkpoint import load_checkpoint, save_checkpoint
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.models.backbone import VisionTransformerPyramid
from querydiff_core.models.build import build_model
from querydiff_core.models.querydiff import QueryDiff
from querydiff_core.models.rein import Rein, ReinQueries
from querydiff_core.models.variants import variant_config
from querydiff_core.street_scenes import render_scene

VIT = {"depth": 4, "embed_dim": 32, "num_heads": 2}
VITS = {
    "dinov2": ("vit_small_patch14_dinov2", {"img_size": 112, "dynamic_img_size": True, **VIT}),
    "clip": ("vit_large_patch14_clip_224.openai", {"img_size": 112, "dynamic_img_size": True, **VIT}),
    "sam": ("samvit_base_patch16", {"img_size": 128, "window_size": 3, "global_attn_indexes": (1,), **VIT}),
}
SMALL = {
    "backbone_options": {"img_size": 112, "dynamic_img_size": True, "channels": 64, **VIT},
    "channels": 32,
    "heads": 2,
    "queries": 6,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_feedforward": 32,
    "decoder_feedforward": 32,
    "scheme": "rein",
    "rein_options": {"rank": 4},
}
SAM = {**SMALL, "backbone_options": {**VITS["sam"][1], "global_attn_indexes": [1], "channels": 64}}
TOKENS = {**SMALL, "query_source": "tokens"}
BASELINE = {**SMALL, "query_source": "rein", "refinement": False}


def pyramid(name: str) -> VisionTransformerPyramid:
    torch.manual_seed(0)
    network, options = VITS[name]
    return VisionTransformerPyramid(network, 64, **options)


def at_random(module: nn.Module) -> nn.Module:
    """Give every parameter a value that the equations must get right, zero at the start or not."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, 0.3)
    return module.double()


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def refined(features: np.ndarray, rein: Rein, layer: int) -> np.ndarray:
    """Rein's equations as the paper prints them, for the features (n, c) of one image."""
    token_map = rein.token_maps[0 if rein.shared else layer]
    feature_map = rein.feature_maps[0 if rein.shared else layer]
    tokens = array(rein.a)[layer] @ array(rein.b)[layer]  # T_i
    similarity = softmax(features @ tokens.T / np.sqrt(features.shape[1]))  # S_i
    delta = np.zeros_like(features)
    for token in range(1, len(tokens)):  # 2:m, counted from 1
        mapped = array(token_map.weight) @ tokens[token] + array(token_map.bias)
        delta += similarity[:, token : token + 1] * mapped
    return features + (delta + features) @ array(feature_map.weight).T + array(feature_map.bias)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_equals_a_reference_written_from_the_paper(seed: int, shared: bool) -> None:
    torch.manual_seed(seed)
    draw = np.random.default_rng(seed)
    layers, channels, tokens, rank, pixels = (int(n) for n in draw.integers(2, 12, 5))
    rein = at_random(Rein(layers, channels, tokens, rank, shared))
    features = torch.randn(2, pixels, channels, dtype=torch.float64)
    for layer in range(layers):
        found = array(rein(features, layer))
        for image in range(2):
            np.testing.assert_allclose(found[image], refined(array(features[image]), rein, layer), rtol=1e-10)


@pytest.mark.parametrize("shared", [True, False])
def test_queries_equal_a_reference_written_from_the_paper(shared: bool) -> None:
    torch.manual_seed(1)
    rein = at_random(Rein(5, 9, tokens=7, rank=3, shared=shared))
    queries = at_random(ReinQueries(rein, 4))
    each = []
    for layer in range(5):
        link = queries.query_maps[0 if shared else layer]
        each.append(array(rein.a[layer] @ rein.b[layer]) @ array(link.weight).T + array(link.bias))
    joined = np.concatenate([np.max(each, 0), np.mean(each, 0), each[-1]], 1)
    expected = joined @ array(queries.merge.weight).T + array(queries.merge.bias)
    found = array(queries([torch.zeros(2, 1, 1, 1)]))
    np.testing.assert_allclose(found, np.stack([expected, expected]), rtol=1e-10)


@pytest.mark.parametrize("name", VITS)
def test_starts_as_the_frozen_network_and_then_refines_every_block(name: str) -> None:
    network = pyramid(name).eval()
    images = torch.randn(2, 3, 70, 98)
    before = network(images)
    network.add_rein(tokens=5, rank=2)
    for layer, block in enumerate(network.network.blocks):
        tokens = torch.randn(1, 6, 7, 32) if name == "sam" else torch.randn(1, 1 + 42, 32)
        assert torch.equal(block(tokens), block.block(tokens)), layer
    for was, now in zip(before, network(images), strict=True):
        torch.testing.assert_close(was, now)
    with torch.no_grad():
        network.rein.feature_maps[0].weight.normal_(0, 0.05)
    for was, now in zip(before, network(images), strict=True):
        assert (was - now).abs().max() > 1e-3


def test_refines_patches_alone() -> None:
    network = pyramid("dinov2").eval()
    network.add_rein(tokens=5, rank=2)
    block = at_random(network.network.blocks[1]).float()
    at_random(network.rein).float()
    tokens = torch.randn(1, 1 + 12, 32)
    plain, with_rein = block.block(tokens), block(tokens)
    assert torch.equal(plain[:, 0], with_rein[:, 0])
    torch.testing.assert_close(with_rein[:, 1:], network.rein(plain[:, 1:], 1))


@pytest.mark.parametrize("name", VITS)
def test_only_tokens_maps_and_projections_learn(name: str) -> None:
    network = pyramid(name)
    network.add_rein(tokens=5, rank=2)
    network.train()
    before = copy.deepcopy(network.state_dict())
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    for _ in range(2):  # W_f starts at 0, so the tokens get their gradients from the second step on
        optimizer.zero_grad()
        sum(m.square().mean() + m.mean() for m in network(torch.randn(2, 3, 70, 98))).backward()
        optimizer.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.startswith(("rein.", "projections."))}
    assert not set(map(id, network.pretrained_parameters())) & set(map(id, trained))


def test_a_pyramid_starts_as_the_frozen_network_and_then_refines_every_map() -> None:
    torch.manual_seed(0)
    plain, model = (build_model("tiny", scheme=scheme).eval() for scheme in ("frozen", "rein"))
    model.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 96)
    before = plain.backbone(images)
    for was, now in zip(before, model.backbone(images), strict=True):
        torch.testing.assert_close(was, now)
    rein = model.backbone.reins[2]
    at_random(rein).float()
    now = model.backbone(images)
    pixels = before[2].permute(0, 2, 3, 1).flatten(1, 2)
    torch.testing.assert_close(now[2].permute(0, 2, 3, 1).flatten(1, 2), rein(pixels, 0))
    assert torch.equal(now[1], before[1])
    trained = [name for name, parameter in model.backbone.named_parameters() if parameter.requires_grad]
    assert trained
    assert all(name.startswith("reins.") for name in trained)


def test_has_as_many_parameters_as_the_paper_says() -> None:
    with torch.device("meta"):
        model = build_model("dinov2-l", scheme="rein", query_source="rein", refinement=False)
    rein = [*model.backbone.rein.parameters(), *model.agent_queries.parameters()]
    assert sum(parameter.numel() for parameter in rein) == 2_990_080  # "2.99M" in its Table 1, for DINOv2-Large


def test_the_weights_are_saved_once_however_many_blocks_share_them() -> None:
    names = build_model("dinov2-s", **BASELINE).state_dict()
    assert [name for name in names if "rein" in name] == [
        "backbone.rein.a",
        "backbone.rein.b",
        "backbone.rein.token_maps.0.weight",
        "backbone.rein.token_maps.0.bias",
        "backbone.rein.feature_maps.0.weight",
        "backbone.rein.feature_maps.0.bias",
    ]


def test_a_copy_refines_with_its_own_tokens() -> None:
    torch.manual_seed(0)
    model = build_model("dinov2-s", **BASELINE).eval()
    images = torch.randn(1, 3, 64, 96)
    before = model(images).agent_queries
    twin = copy.deepcopy(model)
    at_random(twin.backbone.rein).float()
    assert torch.equal(model(images).agent_queries, before)
    assert not torch.equal(twin(images).agent_queries, before)


def saved(folder: Path, variant: str, overrides: dict) -> tuple[QueryDiff, Path]:
    torch.manual_seed(0)
    model = build_model(variant, **overrides)
    with torch.no_grad():
        model.backbone.rein.feature_maps[0].weight.normal_(0, 0.02)
    metadata = ModelMetadata(variant, (64, 128), model.mean, model.std, overrides=overrides)
    save_checkpoint(model, metadata, folder / "rein.safetensors")
    return model, folder / "rein.safetensors"


@pytest.mark.parametrize("options", [SMALL, BASELINE], ids=["agent queries", "rein alone"])
def test_a_student_with_rein_comes_back_from_its_checkpoint(options: dict, tmp_path: Path) -> None:
    model, path = saved(tmp_path, "dinov2-s", options)
    loaded, metadata = load_checkpoint(path)
    assert metadata.overrides == json.loads(json.dumps(options))
    assert loaded.config == model.config | {"auxiliary_head": False}
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize(("variant", "options"), [("dinov2-s", BASELINE), ("sam-b", SAM), ("dinov2-s", TOKENS)])
def test_a_student_with_rein_becomes_onnx(variant: str, options: dict, tmp_path: Path) -> None:
    _, path = saved(tmp_path, variant, options)
    assert export([str(path), "--output", str(path.with_suffix(".onnx"))]) == 0
    images = np.stack([render_scene(seed, (96, 160)).image for seed in range(2)])
    eager, exported = (Segmenter.load(p)(images) for p in (path, path.with_suffix(".onnx")))
    assert (eager.labels == exported.labels).mean() > 0.99


@pytest.mark.parametrize(
    ("variant", "overrides", "says"),
    [
        ("mit-b0", {"scheme": "rein"}, r"mit-b0 is neither \(nvidia/mit-b0\).*resnet50.*dinov2-l"),
        ("resnet50", {"scheme": "rein", "query_source": "rein"}, r"resnet50 has none \(resnet50\.a1_in1k\).*learned"),
        ("resnet50", {"scheme": "rein", "rein_options": {"shared": True}}, "tokens, rank, found 'shared'"),
        ("dinov2-s", {"scheme": "fronzen"}, "full, frozen, rein, found 'fronzen'"),
        ("dinov2-s", {"query_source": "reins"}, "agent, tokens, learned, rein, found 'reins'"),
        ("dinov2-s", {"query_source": "rein"}, "needs scheme rein, found full"),
        ("small", {"query_source": "tokens"}, "query_source tokens needs scheme rein, found full"),
        (
            "small",
            {"scheme": "rein", "query_source": "tokens", "rein_options": {"tokens": 20}},
            "each of Rein's tokens is a query: found 20 tokens and 50 queries",
        ),
        ("dinov2-s", {"scheme": "rein", "rein_options": {"ranks": 3}}, "tokens, rank, shared, found 'ranks'"),
        ("dinov2-s", {"scheme": "rein", "rein_options": {"tokens": 1}}, "found 1 of rank"),
        ("dinov2-s", {"scheme": "rein", "rein_options": {"rank": 0}}, "of rank 0"),
        (
            "dinov2-s",
            {"scheme": "rein", "query_source": "rein", "rein_options": {"tokens": 50}},
            "50 tokens and 100 queries",
        ),
    ],
)
def test_what_does_not_go_together_is_one_sentence(variant: str, overrides: dict, says: str) -> None:
    with pytest.raises(QueryDiffError, match=says):
        variant_config(variant, **overrides)
