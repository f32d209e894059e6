"""The teacher's share of the gradient, on losses whose gradients are known."""

import math

import pytest
import torch

from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.teaching_gradient import TeachingGradient


def losses(of_diff: float = 2.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return L_seg and L_diff of queries = 7 backbone, with gradients 3 and `of_diff`, and that L_seg has a path more.

    At the queries their ratio is of_diff / 3, at the backbone (7 of_diff) / (7 * 3 + 4).
    """
    backbone = torch.ones(5, requires_grad=True)
    queries = 7 * backbone
    return 3 * queries.sum() + 4 * backbone.sum(), of_diff * queries.sum(), queries, backbone


def test_shares_are_those_of_the_gradients() -> None:
    l_seg, l_diff, queries, backbone = losses()
    found = TeachingGradient(0.5).measure(l_seg, l_diff, queries, [backbone])
    assert float(found["queries"]) == pytest.approx(0.5 * 2 / 3)
    assert float(found["backbone"]) == pytest.approx(0.5 * 14 / 25)
    assert float(found["alpha"]) == 0.5
    (l_seg + l_diff).backward()  # the graph is still there
    assert "backbone" not in TeachingGradient(0.5).measure(*losses()[:3], [])


def test_alpha_follows_the_share_that_is_asked_for() -> None:
    teaching = TeachingGradient(1.0, share=0.1)
    assert teaching.alpha == 1
    found = teaching.measure(*losses()[:3], [])
    assert float(found["queries"]) == pytest.approx(0.1)
    assert teaching.alpha == pytest.approx(0.15)
    teaching.measure(*losses(of_diff=0.5)[:3], [])  # a quarter of the gradient: half of the way to four times as much
    assert teaching.alpha == pytest.approx(0.3)
    resumed = TeachingGradient(1.0, share=0.1)
    resumed.load_state_dict(teaching.state_dict())
    assert resumed.alpha == teaching.alpha
    assert not TeachingGradient(1.0).state_dict()  # states of runs without it stay as they are


def test_a_share_out_of_reach_says_the_alpha_that_it_would_take() -> None:
    with pytest.raises(QueryDiffError, match=r"10% .* would take alpha 3e\+05, above 10000"):
        TeachingGradient(1.0, share=0.1).measure(*losses(of_diff=1e-6)[:3], [])
    with pytest.raises(QueryDiffError, match="above 0"):
        TeachingGradient(1.0, share=0.0)
    assert math.isfinite(TeachingGradient(1.0).measure(*losses(of_diff=0.0)[:3], [])["queries"])
