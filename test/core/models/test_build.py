"""Every variant, wired: the big ones on the meta device, which computes shapes and no numbers."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

from querydiff_core.errors import QueryDiffError
from querydiff_core.models.agent_queries import LearnedQueries
from querydiff_core.models.backbone import MixTransformer
from querydiff_core.models.build import build_model
from querydiff_core.models.refinement import IdentityRefinement
from querydiff_core.models.variants import VARIANTS, variant_config

TINY = {"backbone_options": {"channels": [8, 8, 8, 8]}, "decoder_layers": 1, "queries": 5}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs_forward_and_backward(variant: str) -> None:
    # transformers 4 cannot build MiT without numbers.
    with torch.device("cpu" if variant.startswith("mit") and transformers.__version__ < "5" else "meta"):
        model = build_model(variant, encoder_layers=1, decoder_layers=3).eval().to("meta")
    with torch.device("meta"):
        output = model(torch.empty(1, 3, 64, 96))
        (output.masks[-1].sum() + output.classes[-1].sum()).backward()
    queries = VARIANTS[variant].queries
    assert output.masks[-1].shape == (1, queries, 16, 24)
    assert output.classes[-1].shape == (1, queries, 20)
    silent = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert silent == {"pixel_head.weight", "pixel_head.bias"}  # it takes part in training alone


def test_names_all_variants() -> None:
    expected = "tiny small small-resnet18d resnet50 dinov2-s dinov2-b dinov2-l clip-l sam-b sam-l"
    assert set(VARIANTS) == {*expected.split(), *(f"mit-b{i}" for i in range(6)), "convnext-l"}


def test_tiny_and_small_keep_to_their_sizes() -> None:
    def parameters(variant: str) -> int:
        return sum(parameter.numel() for parameter in build_model(variant).parameters())

    assert parameters("tiny") < 1_000_000
    assert parameters("small") < 8_000_000


def test_the_config_rebuilds_the_model_from_json() -> None:
    model = build_model("tiny", classes=7, **TINY)
    config = json.loads(json.dumps(model.config))
    again = build_model(model.variant, **config)
    again.load_state_dict(model.state_dict())
    assert again.config == model.config
    assert again.mean == model.mean == (0.485, 0.456, 0.406)


def test_without_the_auxiliary_head_the_rest_of_the_weights_stay_the_same() -> None:
    names = set(build_model("tiny", **TINY).state_dict())
    assert names - set(build_model("tiny", auxiliary_head=False, **TINY).state_dict()) == {
        "pixel_head.weight",
        "pixel_head.bias",
    }


def test_the_baselines_of_ablations() -> None:
    model = build_model("tiny", query_source="learned", refinement=False, **TINY)
    assert isinstance(model.agent_queries, LearnedQueries)
    assert all(isinstance(refinement, IdentityRefinement) for refinement in model.refinements)
    assert model(torch.randn(2, 3, 32, 32)).masks[-1].shape == (2, 5, 8, 8)


@pytest.mark.parametrize(("variant", "scheme"), [("dinov2-l", "rein"), ("sam-l", "rein"), ("clip-l", "frozen")])
def test_schemes_of_full_size_leave_gradients_to_what_learns(variant: str, scheme: str) -> None:
    with torch.device("meta"):
        model = build_model(variant, scheme=scheme, encoder_layers=1, decoder_layers=3).eval()
        output = model(torch.empty(1, 3, 64, 96))
        (output.masks[-1].sum() + output.classes[-1].sum()).backward()
    silent = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    network = {name for name, _ in model.named_parameters() if name.startswith("backbone.network.")}
    assert silent == network | {"pixel_head.weight", "pixel_head.bias"}


def test_unknown_names_are_told_with_the_known_ones() -> None:
    with pytest.raises(QueryDiffError, match=r"'huge'.*tiny, small-resnet18d, small, resnet50"):
        build_model("huge")
    with pytest.raises(QueryDiffError, match=r"no setting 'depth'.*channels"):
        variant_config("tiny", depth=3)


def test_loads_a_backbone_of_timm_from_a_file(tmp_path: Path) -> None:
    import timm

    options = {"channels": [8, 8, 8, 8]}
    stored = timm.create_model("resnet18", **options)
    safetensors.torch.save_file(stored.state_dict(), tmp_path / "backbone.safetensors")
    model = build_model("tiny", pretrained=tmp_path / "backbone.safetensors", **TINY)
    torch.testing.assert_close(model.backbone.network.layer1[0].conv1.weight, stored.layer1[0].conv1.weight)


def test_loads_a_mix_transformer_from_a_folder(tmp_path: Path) -> None:
    options = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 40, 64]}
    stored = MixTransformer("none", **options)
    stored.network.save_pretrained(tmp_path)
    model = build_model("mit-b0", pretrained=tmp_path, decoder_layers=1, encoder_layers=1)
    assert model.backbone.channels == (8, 16, 40, 64)
    for name, value in model.backbone.state_dict().items():
        torch.testing.assert_close(value, stored.state_dict()[name], msg=name)


def test_pretrained_weights_that_cannot_be_had_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(QueryDiffError, match=r"expected a \.safetensors file"):
        build_model("tiny", pretrained=tmp_path / "missing.safetensors")
    with pytest.raises(QueryDiffError, match="expected a folder"):
        build_model("mit-b0", pretrained=tmp_path / "missing")
    (tmp_path / "truncated.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(QueryDiffError, match=r"truncated\.safetensors"):
        build_model("tiny", pretrained=tmp_path / "truncated.safetensors")
    safetensors.torch.save_file({"foreign": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(QueryDiffError, match=r"foreign\.safetensors: it lacks"):
        build_model("tiny", pretrained=str(tmp_path / "foreign.safetensors"))
