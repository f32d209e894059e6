"""Backbones of every family, small and with random weights."""

import copy

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


VITS = ("dinov2", "clip", "sam")
FAMILIES = ("resnet", "convnext", "mit", *VITS)


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


@pytest.mark.parametrize("family", VITS)
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


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_network_stays_bit_for_bit_while_projections_learn(family: str) -> None:
    network = backbone(family)
    network.freeze()
    head = torch.nn.Conv2d(network.channels[0], 1, 1)
    network.train()
    before = copy.deepcopy(network.state_dict())
    trained = [parameter for parameter in (*network.parameters(), *head.parameters()) if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.1)
    maps = network(torch.randn(2, 3, 64, 96))
    (head(maps[0]).sum() + sum((m**2).sum() for m in maps)).backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("projections.")}
    assert not any(module.training for module in network.network.modules())
    assert network.training


@pytest.mark.parametrize("family", ["resnet", "convnext"])
def test_a_network_that_is_not_frozen_trains(family: str) -> None:
    network = backbone(family).eval().train()
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_pretrained_parameters_are_all_but_the_projections(family: str) -> None:
    network = backbone(family)
    pretrained = set(map(id, network.pretrained_parameters()))
    rest = {name for name, parameter in network.named_parameters() if id(parameter) not in pretrained}
    assert rest == {name for name, _ in network.named_parameters() if name.startswith("projections.")}


def kept_in_a_step(network: Backbone) -> int:
    """Return the numbers that the forward pass keeps for the backward pass, both of which it runs."""
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.data_ptr()] = tensor.numel()
        return tensor

    torch.manual_seed(1)  # images, and drop path of some networks
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = network(torch.randn(2, 3, 64, 96))
    sum((m**2).sum() + m.sum() for m in maps).backward()
    return sum(saved.values())


@pytest.mark.parametrize(("family", "rein"), [*((f, False) for f in FAMILIES), *((f, True) for f in VITS)])
def test_checkpointing_keeps_fewer_activations_and_leaves_gradients_as_they_are(family: str, rein: bool) -> None:
    plain = backbone(family).train()
    if rein:
        assert isinstance(plain, VisionTransformerPyramid)
        plain.add_rein(tokens=5, rank=2)
        torch.nn.init.normal_(plain.rein.feature_maps[0].weight, 0, 0.05)
    saving = copy.deepcopy(plain)
    saving.checkpoint_gradients()
    assert kept_in_a_step(saving) < 0.9 * kept_in_a_step(plain)
    gradients = {name: parameter.grad for name, parameter in saving.named_parameters()}
    for name, parameter in plain.named_parameters():
        if parameter.grad is None:
            assert gradients[name] is None
        else:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=0, atol=0, msg=name)
