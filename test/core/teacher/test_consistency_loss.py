"""The consistency loss against an independent float64 reading of Eqs. 8 to 12, and what it does to a student."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from teachers import write_tiny_teacher

from querydiff_core.models.build import build_model
from querydiff_core.models.query_statistics import perplexity_share
from querydiff_core.teacher.consistency_loss import ConsistencyLoss
from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher
from querydiff_core.teacher.frozen_teacher import TeacherFeatures

FLOAT64 = torch.float64


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def layer_normed(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:])


def make_features(
    batch: int, channels: tuple[int, ...], sizes: list[tuple[int, int]], dtype: torch.dtype = FLOAT64
) -> TeacherFeatures:
    weak, strong = (
        [layer_normed(torch.randn(batch, h * w, c, dtype=dtype)) for c, (h, w) in zip(channels, sizes, strict=True)]
        for _ in range(2)
    )
    return TeacherFeatures(weak, strong, sizes)


class Reference:
    """One image and one feature at a time, in numpy, from the printed equations; it knows only the weights' names."""

    def __init__(self, loss: ConsistencyLoss) -> None:
        self.weights = {name: value.detach().numpy() for name, value in loss.state_dict().items()}
        self.scaled, self.mean = loss.scaled, loss.pooling == "mean"

    def linear(self, j: int, queries: np.ndarray) -> np.ndarray:
        names = (f"linears.{j}.{part}.{kind}" for part in (0, 1, 3) for kind in ("weight", "bias"))
        w0, b0, gain, shift, w1, b1 = (self.weights[name] for name in names)
        hidden = queries @ w0.T + b0
        normed = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(hidden.var(-1, keepdims=True) + 1e-5)
        normed = normed * gain + shift
        gelu = 0.5 * normed * (1 + np.vectorize(math.erf)(normed / math.sqrt(2)))
        return gelu @ w1.T + b1

    def similarity(self, j: int, queries: np.ndarray, weak: np.ndarray) -> np.ndarray:
        scale = math.sqrt(weak.shape[-1]) if self.scaled else 1.0
        return softmax(weak @ self.linear(j, queries).T / scale, 1)  # Eq. 8

    def terms(self, j: int, queries: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> tuple[float, float]:
        g, s = self.linear(j, queries), self.similarity(j, queries, weak)
        p, p_hat = softmax(strong, 1), softmax(s @ g, 1)
        dist = (p * np.log(p / p_hat)).sum(1).mean()  # Eq. 9
        q_opt = (s / s.sum(0) if self.mean else s).T @ strong  # Eq. 10
        off = np.abs(g - q_opt)
        sup = np.where(off < 1, 0.5 * off**2, off - 0.5).mean()  # Eq. 11
        return sup, dist

    def __call__(self, queries: torch.Tensor, features: TeacherFeatures) -> tuple[float, float]:
        images = [
            [
                self.terms(j, queries[i].numpy(), weak[i].numpy(), strong[i].numpy())
                for j, (weak, strong) in enumerate(zip(features.weak, features.strong, strict=True))
            ]
            for i in range(len(queries))
        ]
        sup, dist = np.array(images).sum(1).mean(0)  # sum over features, mean over images
        return float(sup), float(dist)


@settings(deadline=None, max_examples=25)
@given(
    data=st.data(),
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 3),
    queries=st.integers(1, 6),
    channels=st.integers(1, 7),
    scaled=st.booleans(),
    pooling=st.sampled_from(["mean", "sum"]),
    weights=st.tuples(st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.7, 1.0])),
)
def test_equals_the_equations(
    data: st.DataObject,
    seed: int,
    batch: int,
    queries: int,
    channels: int,
    scaled: bool,
    pooling: str,
    weights: tuple[float, float],
) -> None:
    torch.manual_seed(seed)
    count = data.draw(st.integers(1, 3))
    feature_channels = tuple(data.draw(st.integers(2, 9)) for _ in range(count))
    sizes = [(data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))) for _ in range(count)]
    loss = ConsistencyLoss(
        channels,
        feature_channels,
        supervision_weight=weights[0],
        distribution_weight=weights[1],
        scaled=scaled,
        pooling=pooling,
    ).double()
    q_agent, features = (
        torch.randn(batch, queries, channels, dtype=FLOAT64),
        make_features(batch, feature_channels, sizes),
    )
    with torch.no_grad():
        found = {name: float(value) for name, value in loss(q_agent, features).items()}
    sup, dist = Reference(loss)(q_agent, features)
    assert found["sup"] == pytest.approx(sup if weights[0] else 0, rel=1e-9, abs=1e-12)
    assert found["dist"] == pytest.approx(dist if weights[1] else 0, rel=1e-9, abs=1e-12)
    assert found["loss"] == pytest.approx(weights[0] * sup + weights[1] * dist, rel=1e-9, abs=1e-12)


def make_small() -> tuple[ConsistencyLoss, torch.Tensor, TeacherFeatures]:
    torch.manual_seed(0)
    loss = ConsistencyLoss(8, (6, 10)).double()
    return loss, torch.randn(2, 5, 8, dtype=FLOAT64), make_features(2, (6, 10), [(3, 4), (6, 8)])


def test_similarity_is_equation_8() -> None:
    loss, queries, features = make_small()
    reference = Reference(loss)
    for j, found in enumerate(loss.similarity(queries, features)):
        assert found.shape == (2, features.weak[j].shape[1], 5)
        for i in range(2):
            expected = reference.similarity(j, queries[i].numpy(), features.weak[j][i].numpy())
            np.testing.assert_allclose(found[i].detach().numpy(), expected, rtol=1e-9)


def test_permuting_the_queries_permutes_the_similarities_alone() -> None:
    loss, queries, features = make_small()
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = loss.similarity(queries[:, order], features)
    for before, after in zip(loss.similarity(queries, features), permuted, strict=True):
        torch.testing.assert_close(after, before[..., order])
    for name, value in loss(queries[:, order], features).items():
        torch.testing.assert_close(value, loss(queries, features)[name])


def test_permuting_the_queries_permutes_their_targets() -> None:
    """L_sup's gradient to a query says where its target lies; it must move with the query."""
    loss, queries, features = make_small()
    loss.distribution_weight = 0
    order = torch.tensor([3, 0, 4, 1, 2])

    def gradient(q: torch.Tensor) -> torch.Tensor:
        q = q.clone().requires_grad_()
        return torch.autograd.grad(loss(q, features)["loss"], q)[0]

    torch.testing.assert_close(gradient(queries[:, order]), gradient(queries)[:, order])


def test_targets_of_supervision_have_no_gradient() -> None:
    """With the target held, L_sup's gradient through g alone is SmoothL1's: clamp(g - q_opt, -1, 1) / elements."""
    loss, queries, features = make_small()
    loss.distribution_weight = 0
    found = []
    loss.linears[0].register_forward_hook(lambda module, inputs, g: found.append(g) or g.retain_grad())
    loss(queries.requires_grad_(), features)["loss"].backward()
    g = found[0]
    reference = Reference(loss)
    for i in range(2):
        s = reference.similarity(0, queries[i].detach().numpy(), features.weak[0][i].numpy())
        q_opt = (s / s.sum(0)).T @ features.strong[0][i].numpy()
        expected = np.clip(g[i].detach().numpy() - q_opt, -1, 1) / g.numel()
        np.testing.assert_allclose(g.grad[i].numpy(), expected, rtol=1e-9, atol=1e-15)


def appearance_free(batch: int, groups: int, channels: int, noise: float) -> TeacherFeatures:
    """Return features that take `groups` values; strong ones differ from weak ones by `noise` of fresh appearance."""
    values = layer_normed(torch.randn(groups, channels))
    weak = values[torch.arange(batch * 36).reshape(batch, 36) % groups]
    strong = layer_normed(weak + noise * torch.randn_like(weak))
    return TeacherFeatures([weak], [strong], [(6, 6)])


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.0, 0.02), (1.0, 0.1, 1.0)])
def test_distribution_falls_to_its_floor_when_features_are_appearance_free(
    noise: float, low: float, high: float
) -> None:
    torch.manual_seed(0)
    features = appearance_free(2, 4, 24, noise)
    loss = ConsistencyLoss(16, (24,), supervision_weight=0)
    queries = torch.randn(2, 8, 16, requires_grad=True)
    start = float(loss(queries, features)["dist"].detach())
    optimizer = torch.optim.Adam([queries, *loss.parameters()], 1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss(queries, features)["loss"].backward()
        optimizer.step()
    end = float(loss(queries, features)["dist"].detach())
    assert end < start / 2
    assert low <= end < high


def test_one_small_step_lowers_each_term() -> None:
    torch.manual_seed(0)
    features = appearance_free(2, 4, 24, 0.3)
    for weights, name in (((1.0, 0.0), "sup"), ((0.0, 1.0), "dist")):
        loss = ConsistencyLoss(16, (24,), supervision_weight=weights[0], distribution_weight=weights[1])
        queries = torch.randn(2, 8, 16, requires_grad=True)
        before = loss(queries, features)
        before["loss"].backward()
        with torch.no_grad():
            after = loss(queries - 1e-2 * queries.grad, features)
        assert after[name] < before[name]


def test_stays_finite_when_no_cell_attends_to_a_query() -> None:
    loss = ConsistencyLoss(4, (8,), scaled=False)
    with torch.no_grad():
        loss.linears[0][3].weight.mul_(1e4)
    queries = torch.randn(1, 50, 4, requires_grad=True)
    out = loss(queries, make_features(1, (8,), [(2, 2)], torch.float32))
    out["loss"].backward()
    assert all(torch.isfinite(value) for value in out.values())
    assert torch.isfinite(queries.grad).all()


def test_runs_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    loss, features = ConsistencyLoss(8, (6,)), make_features(1, (6,), [(4, 4)], torch.float32)
    queries = torch.randn(1, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(queries, features)
    for name, value in loss(queries, features).items():
        assert torch.equal(value, found[name])
        assert value.dtype == torch.float32


def test_weight_of_zero_skips_the_term() -> None:
    loss, queries, features = make_small()
    whole = loss(queries, features)
    loss.supervision_weight = 0
    assert float(loss(queries, features)["sup"]) == 0
    torch.testing.assert_close(loss(queries, features)["loss"], whole["dist"])
    loss.supervision_weight, loss.distribution_weight = 2, 0
    assert float(loss(queries, features)["dist"]) == 0
    torch.testing.assert_close(loss(queries, features)["loss"], 2 * whole["sup"])


def test_gradients_reach_the_student_and_not_the_teacher(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student = build_model("tiny")
    for parameter in student.backbone.parameters():
        if not parameter.any():  # gains of residual branches start at 0 and would stop gradients in this first step
            torch.nn.init.normal_(parameter, std=0.1)
    teacher = DiffusionTeacher.load(write_tiny_teacher(tmp_path))
    loss = ConsistencyLoss(64, teacher.channels)
    state = {name: value.clone() for name, value in teacher.state_dict().items()}
    # All that is there, teacher included: an optimiser that is given frozen parameters must leave them alone.
    parameters = [*student.parameters(), *loss.parameters(), *teacher.parameters()]
    optimizer = torch.optim.AdamW(parameters, 1e-3, weight_decay=0.05)
    images = torch.rand(2, 3, 64, 64)
    loss(student(images).agent_queries, teacher(images))["loss"].backward()
    reached = {name for name, p in student.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    # q_init of layers and merging stages, the merging stages, the backbone: all that agent queries depend on.
    expected = {name for name, _ in student.named_parameters() if name.startswith(("agent_queries.", "backbone."))}
    assert expected <= reached
    optimizer.step()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, state[name]) for name, value in teacher.state_dict().items())


def test_every_backbone_stage_is_taught(tmp_path: Path) -> None:
    torch.manual_seed(0)
    student, teacher = build_model("tiny"), DiffusionTeacher.load(write_tiny_teacher(tmp_path))
    loss = ConsistencyLoss(64, teacher.channels)
    images = torch.rand(1, 3, 64, 64)
    features = [f.detach().requires_grad_() for f in student.backbone(images)]
    loss(student.agent_queries(features), teacher(images))["loss"].backward()
    assert all(feature.grad.abs().max() > 0 for feature in features)


def test_the_spread_of_similarities_is_the_same_at_any_width() -> None:
    torch.manual_seed(0)
    for width in (16, 640):
        loss = ConsistencyLoss(32, (width,), similarity_spread=2.0)
        features = make_features(2, (width,), [(4, 6)], torch.float32)
        (s,) = loss.similarity(torch.randn(2, 100, 32), features)
        torch.testing.assert_close(s.log().std(2, correction=0), torch.full((2, 24), 2.0), atol=1e-2, rtol=0)
        assert 0.12 < perplexity_share(s) < 0.25
    soft = ConsistencyLoss(32, (640,)).similarity(torch.randn(2, 100, 32), features)[0]
    assert perplexity_share(soft) > 0.9  # hardly any choice


def test_summed_pixels_are_equation_9_as_printed() -> None:
    loss, queries, features = make_small()
    loss.supervision_weight = 0
    each = []
    for j, pixels in enumerate((12, 48)):
        alone = ConsistencyLoss(8, (features.weak[j].shape[2],), supervision_weight=0).double()
        alone.linears[0].load_state_dict(loss.linears[j].state_dict())
        part = TeacherFeatures([features.weak[j]], [features.strong[j]], [features.sizes[j]])
        each.append(pixels * float(alone(queries, part)["dist"].detach()))
    loss.summed_pixels = True
    assert float(loss(queries, features)["dist"].detach()) == pytest.approx(sum(each), rel=1e-9)


def test_supervision_of_the_queries_themselves_leaves_linear_alone() -> None:
    torch.manual_seed(0)
    loss = ConsistencyLoss(8, (6, 10), distribution_weight=0, supervise_queries=True).double()
    queries = torch.randn(2, 5, 8, dtype=FLOAT64, requires_grad=True)
    features = make_features(2, (6, 10), [(3, 4), (6, 8)])
    loss(queries, features)["loss"].backward()
    assert not any(parameter.requires_grad for parameter in loss.linears.parameters())  # or DDP would wait for them
    expected = torch.zeros_like(queries)
    for j, (s, strong) in enumerate(zip(loss.similarity(queries, features), features.strong, strict=True)):
        target = (s / s.sum(1, keepdim=True)).mT @ strong @ loss.get_buffer(f"to_queries_{j}").double()
        expected += (queries - target).clamp(-1, 1).detach() / queries.numel()
    torch.testing.assert_close(queries.grad, expected)
    for name in ("to_queries_0", "to_queries_1"):  # the variance of a channel stays
        basis = loss.get_buffer(name)
        white = torch.randn(20_000, len(basis)).to(basis) @ basis
        assert float(white.square().mean()) == pytest.approx(1, rel=0.05)
    assert not [name for name in loss.state_dict() if name.startswith("to_queries")]
