"""Refinement: pixels read the agent queries and their surroundings."""

import torch

from querydiff_core.models.refinement import IdentityRefinement, Refinement

C = 8


def refinement() -> Refinement:
    torch.manual_seed(0)
    return Refinement(C).double()


def inputs(size: tuple[int, int] = (12, 16)) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, C, *size, dtype=torch.float64), torch.randn(2, 5, C, dtype=torch.float64)


def test_keeps_the_shape_of_any_map() -> None:
    for size in ((12, 16), (1, 1), (3, 7)):
        feature, queries = inputs(size)
        assert refinement()(feature, queries).shape == feature.shape


def test_adds_to_the_map_its_fusion_with_what_each_pixel_reads_from_the_queries() -> None:
    module = refinement()
    feature, queries = inputs()
    pixels = feature.flatten(2).transpose(1, 2)
    keys, values = queries @ module.attention.key.weight.T, queries @ module.attention.value.weight.T
    scores = pixels @ module.attention.query.weight.T @ keys.transpose(1, 2) / C**0.5
    read = (scores.softmax(2) @ values).transpose(1, 2).reshape(feature.shape)
    fused = module.fuse(torch.cat((feature, read), 1))
    parts = [branch(fused[:, 2 * i : 2 * i + 2]) for i, branch in enumerate(module.branches)]
    torch.testing.assert_close(module(feature, queries), feature + module.align(torch.cat(parts, 1)))


def test_the_branches_look_one_to_four_pixels_far() -> None:
    module = refinement()
    assert [branch.dilation for branch in module.branches] == [(i, i) for i in (1, 2, 3, 4)]
    assert all(branch.groups == branch.in_channels for branch in module.branches)


def test_does_not_depend_on_the_order_of_the_queries() -> None:
    module = refinement()
    feature, queries = inputs()
    torch.testing.assert_close(module(feature, queries.flip(1)), module(feature, queries))


def test_gradients_reach_the_queries() -> None:
    feature, queries = inputs()
    (refinement()(feature, queries.requires_grad_()) ** 2).sum().backward()
    assert queries.grad.abs().min() > 0


def test_unrefined_is_the_identity() -> None:
    feature, queries = inputs()
    assert IdentityRefinement()(feature, queries) is feature
