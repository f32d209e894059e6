"""Stable Diffusion 1.5 and 2.1 in full size on the meta device, which computes shapes and counts without weights."""

import pytest
import torch
from diffusers.models import AutoencoderKL
from paths import REPOSITORY
from teacher_cost import UNETS, VAE, print_flops

from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher
from querydiff_core.teacher.teacher_description import meta_unet, meta_vae_encoder
from querydiff_core.teacher.unet_features import DEFAULT_FEATURES, UNetFeatures

GUIDE = REPOSITORY / "docs" / "benchmarks.md"


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_configurations_are_those_of_the_published_weights() -> None:
    assert {name: parameters(meta_unet(config)) for name, config in UNETS.items()} == {
        "1.5": 859_520_964,
        "2.1": 865_910_724,
    }
    with torch.device("meta"):
        assert parameters(AutoencoderKL.from_config(VAE)) == 83_653_863


@pytest.mark.parametrize("name", UNETS)
def test_the_default_features_have_the_documented_shapes(name: str) -> None:
    unet = UNetFeatures(meta_unet(UNETS[name]), DEFAULT_FEATURES)
    text = torch.empty(1, 77, UNETS[name]["cross_attention_dim"], device="meta")
    teacher = DiffusionTeacher(meta_vae_encoder(VAE), unet, text, torch.linspace(1, 0, 1000))
    assert [len(unet.unet.up_blocks), len(unet.unet.up_blocks[-1].resnets)] == [3, 3]
    assert teacher.multiple == 64
    z_0 = teacher.encode(torch.empty(4, 3, 512, 512, device="meta"))
    assert tuple(z_0.shape[1:]) == teacher.latent_shape(512, 512) == (4, 64, 64)
    maps = unet(torch.cat([z_0, z_0]), torch.zeros(8, device="meta"), text.expand(8, -1, -1))
    assert [tuple(each.shape) for each in maps] == [(8, 1280, 16, 16), (8, 640, 32, 32)]


def test_the_guide_has_the_counts_and_they_are_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    print_flops()
    counted = capsys.readouterr().out.splitlines()
    assert [float(row.split("|")[-2]) <= 0.65 for row in counted[2:]] == [True, True]
    assert set(counted) <= set(GUIDE.read_text("utf-8").splitlines())
