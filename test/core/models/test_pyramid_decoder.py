"""The pixel decoder made for CPUs: sizes, what the mask feature depends on, and what each training phase reaches."""

import pytest
import torch

from querydiff_core.models.build import build_model
from querydiff_core.models.pyramid_decoder import PyramidDecoder
from querydiff_core.models.refinement import Refinement

WIDTHS = (8, 12, 16, 24)


def features(height=64, width=96):
    torch.manual_seed(1)
    return [torch.randn(2, w, height // s, width // s) for w, s in zip(WIDTHS, (4, 8, 16, 32), strict=True)]


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return PyramidDecoder(WIDTHS, 32, heads=2).eval(), [Refinement(32) for _ in range(3)], torch.randn(2, 10, 32)


@pytest.mark.parametrize("size", [(64, 96), (32, 32)])
def test_maps_have_c_channels_at_their_strides(decoder, size):
    pyramid, refinements, queries = decoder
    mask_feature, maps = pyramid(features(*size), queries, refinements)
    sizes = [tuple(size[i] // stride for i in (0, 1)) for stride in (4, 32, 16, 8)]
    assert [tuple(each.shape) for each in (mask_feature, *maps)] == [(2, 32, *each) for each in sizes]


def test_the_mask_feature_reads_the_queries_and_the_whole_image(decoder):
    pyramid, refinements, queries = decoder
    images = features()
    before = pyramid.mask_feature(images, queries, refinements)
    other_queries = pyramid.mask_feature(images, queries.flip(1) * 2, refinements)
    assert (other_queries - before).abs().mean() > 1e-3 * before.abs().mean()
    images[3] = images[3].clone()
    images[3][..., -1] += 5.0  # the right edge of the coarsest map
    moved = (pyramid.mask_feature(images, queries, refinements) - before).abs().mean((0, 1, 2))
    assert moved[0] > 1e-3 * before.abs().mean()  # reaches the left edge, through attention alone


def test_the_pixel_path_trains_all_but_the_mask_decoder():
    torch.manual_seed(0)
    model = build_model("small")
    model.pixel_path(torch.randn(2, 3, 64, 64)).square().mean().backward()
    without = {name.split(".")[0] for name, value in model.named_parameters() if value.grad is None}
    assert without == {"mask_decoder"}


def test_agent_queries_leave_the_finest_map_out():
    model = build_model("small").eval()
    maps = [
        torch.randn(1, width, 64 // stride, 64 // stride)
        for width, stride in zip((24, 40, 112, 320), (4, 8, 16, 32), strict=True)
    ]
    queries = model.agent_queries(maps)
    finest, *others = maps
    assert torch.equal(model.agent_queries([finest + 1.0, *others]), queries)
    others[0] = others[0] + torch.randn_like(others[0])
    assert not torch.allclose(model.agent_queries([finest, *others]), queries, atol=1e-4)
