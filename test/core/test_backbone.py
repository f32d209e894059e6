"""Backbones of every family, small and with random weights."""

import pytest
import torch

from querydiff_core.models.backbone import Backbone, MixTransformer, TimmPyramid, VisionTransformerPyramid

VIT = {"depth": 4, "embed_dim": 32, "num_heads": 2}


def backbone(family: str) -> Backbone:
    torch.manual_seed(0)
    if family == "resnet":
        return TimmPyramid("resnet18", channels=[8, 8, 16, 16])
    if family == "convnext":
        return TimmPyramid("convnext_large", depths=[1, 1, 1, 1], dims=[8, 8, 16, 16])
    if family == "mit":
        return MixTransformer("none", depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 40, 64])
    if family == "sam":
        options = {"img_size": 128, "window_size": 3, "global_attn_indexes": (1,), **VIT}
        return VisionTransformerPyramid("samvit_base_patch16", 64, **options)
    name = {"dinov2": "vit_small_patch14_dinov2", "clip": "vit_large_patch14_clip_224.openai"}[family]
    return VisionTransformerPyramid(name, 64, img_size=112, dynamic_img_size=True, **VIT)


FAMILIES = ("resnet", "convnext", "mit", "dinov2", "clip", "sam")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(64, 96), (96, 64), (77, 101)])
def test_gives_four_maps_at_strides_4_to_32(family: str, size: tuple[int, int]) -> None:
    network = backbone(family)
    maps = network(torch.randn(2, 3, *size))
    assert network.strides == (4, 8, 16, 32)
    assert tuple(m.shape[1] for m in maps) == network.channels
    for feature, stride in zip(maps, network.strides, strict=True):
        assert all(abs(n - side / stride) < 1 for n, side in zip(feature.shape[-2:], size, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_parameter(family: str) -> None:
    network = backbone(family)
    sum((feature**2).sum() + feature.sum() for feature in network(torch.randn(2, 3, 64, 96))).backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []


@pytest.mark.parametrize("family", ["dinov2", "clip", "sam"])
def test_position_embeddings_follow_the_image_size(family: str) -> None:
    network = backbone(family).eval().network
    positions, patch = network.pos_embed, network.patch_embed.patch_size[0]
    side = 112 // patch if family != "sam" else 128 // patch
    ramp = torch.linspace(0, 10, side).expand(side, side)  # grows from left to right
    seen: list[torch.Tensor] = []
    network.norm_pre = torch.nn.Identity()  # CLIP's would hide the ramp
    network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, -2)[-24:]))
    with torch.no_grad():
        for values in (ramp, torch.zeros(side, side)):
            grid = positions[:, -side * side :] if positions.dim() == 3 else positions
            grid.copy_(values.reshape(*grid.shape[:-1], 1).expand_as(grid))
            network.forward_intermediates(torch.zeros(1, 3, 4 * patch, 6 * patch), indices=[3])
    added = (seen[0] - seen[1]).reshape(4, 6, -1)  # (4, 6, c): the embedding of a 4 x 6 grid
    torch.testing.assert_close(added[0], added[3])
    assert (added[:, 1:] - added[:, :-1]).min() > 1


def test_sizes_that_are_no_multiple_of_the_patch_are_resized_to_the_nearest() -> None:
    network = backbone("dinov2").eval()
    seen: list[torch.Size] = []
    network.network.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-2:]))
    for size in ((512, 70), (5, 20)):
        network(torch.randn(1, 3, *size))
    assert seen == [(518, 70), (14, 14)]


def test_each_carries_the_normalisation_of_its_weights() -> None:
    assert backbone("resnet").mean == (0.485, 0.456, 0.406)
    assert backbone("mit").std == (0.229, 0.224, 0.225)
    assert backbone("clip").mean == pytest.approx((0.481, 0.458, 0.408), abs=1e-3)
