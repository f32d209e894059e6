"""Agent queries against an independent float64 reading of Eqs. 3 to 6."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from querydiff_core.errors import QueryDiffError
from querydiff_core.models.agent_queries import AgentQueries, LearnedQueries, MergingStage, TokenQueries, halving
from querydiff_core.models.query_statistics import BetweenImages, perplexity_share

C, R = 8, 3
CHANNELS = (4, 5, 6, 7)
SIZES = ((6, 8), (3, 4), (2, 2), (1, 1))


def make() -> AgentQueries:
    torch.manual_seed(0)
    return AgentQueries(CHANNELS, C, R).double()


def feature_maps(batch: int = 2) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(batch, c, *size, dtype=torch.float64) for c, size in zip(CHANNELS, SIZES, strict=True)]


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def layer_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


class Reference:
    """One image at a time, in numpy, from the printed equations; it knows only the names of the weights."""

    def __init__(self, model: AgentQueries, scaled: bool, residual: bool, over_pixels: bool) -> None:
        self.weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
        self.stages = len(model.groups)
        self.last_groups = model.groups[-1]
        self.scaled, self.residual, self.over_pixels = scaled, residual, over_pixels

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0.0)

    def mlp(self, name: str, x: np.ndarray) -> np.ndarray:
        hidden = self.linear(f"{name}.0", x)
        gelu = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        return self.linear(f"{name}.2", gelu)

    def attend(self, name: str, targets: np.ndarray, sources: np.ndarray) -> np.ndarray:
        q, k, v = (self.linear(f"{name}.{n}", x) for n, x in (("query", targets), ("key", sources), ("value", sources)))
        return softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v

    def layer(self, index: int, feature: np.ndarray) -> np.ndarray:
        f = layer_norm(self.linear(f"layers.{index}.project", feature.reshape(len(feature), -1).T))  # (hw, c)
        scores = f @ self.weights[f"layers.{index}.q_init"].T / (math.sqrt(f.shape[1]) if self.scaled else 1)  # (hw, r)
        return self.mlp("mlp", softmax(scores, 0 if self.over_pixels else 1).T @ f)

    def stage(self, index: int, queries: np.ndarray) -> np.ndarray:
        name, norm = f"stages.{index}", layer_norm if self.residual else lambda x: x
        start = self.weights[f"{name}.q_init"]
        first = self.residual * start + self.attend(f"{name}.cross_attention", norm(start), norm(queries))
        second = self.residual * first + self.mlp(f"{name}.cross_ffn", norm(first))
        third = self.residual * second + self.attend(f"{name}.self_attention", norm(second), norm(second))
        return self.residual * third + self.mlp(f"{name}.self_ffn", norm(third))

    def __call__(self, features: list[np.ndarray]) -> np.ndarray:
        queries = np.concatenate([self.layer(i, f) for i, f in enumerate(features)])
        for i in range(self.stages):
            queries = self.stage(i, queries)
        return self.linear("project", queries.reshape(self.last_groups, -1, queries.shape[1]).mean(0))


@settings(deadline=None, max_examples=25)
@given(
    data=st.data(),
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 3),
    queries=st.integers(1, 5),
    channels=st.integers(2, 9),
    scaled=st.booleans(),
    residual=st.booleans(),
    softmax_over=st.sampled_from(["pixels", "queries"]),
)
def test_equals_the_equations(
    data: st.DataObject,
    seed: int,
    batch: int,
    queries: int,
    channels: int,
    scaled: bool,
    residual: bool,
    softmax_over: str,
) -> None:
    torch.manual_seed(seed)
    sides = st.integers(1, 5)
    shapes = data.draw(st.lists(st.tuples(st.integers(1, 6), sides, sides), min_size=1, max_size=4))
    groups = data.draw(st.none() | st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True))
    model = AgentQueries(
        [shape[0] for shape in shapes],
        channels,
        queries,
        groups=groups and sorted(groups, reverse=True),
        scaled=scaled,
        residual=residual,
        softmax_over=softmax_over,
    ).double()
    features = [torch.randn(batch, *shape, dtype=torch.float64) for shape in shapes]
    reference = Reference(model, scaled, residual, softmax_over == "pixels")
    expected = np.stack([reference([f[image].numpy() for f in features]) for image in range(batch)])
    assert expected.shape == (batch, queries, channels)
    np.testing.assert_allclose(model(features).detach().numpy(), expected, rtol=1e-8, atol=1e-10)


def test_groups_halve_while_they_are_even() -> None:
    assert halving(4) == [2, 1]
    assert halving(24) == [12, 6, 3]
    assert halving(5) == [1]
    assert make().groups == (2, 1)


def test_depends_on_the_image_and_on_no_other_image_of_the_batch() -> None:
    model, features = make(), feature_maps()
    queries = model(features)
    assert (queries[0] - queries[1]).abs().max() > 1e-3
    swapped = model([feature.flip(0) for feature in features])
    torch.testing.assert_close(swapped, queries.flip(0))


def test_does_not_depend_on_the_order_of_pixels() -> None:
    model, features = make(), feature_maps()
    shuffled = [f.flatten(2)[..., torch.randperm(f[0, 0].numel())].reshape(f.shape) for f in features]
    torch.testing.assert_close(model(shuffled), model(features))


def test_does_not_grow_with_the_image() -> None:
    model, features = make(), feature_maps()
    doubled = [feature.repeat(1, 1, 2, 2) for feature in features]
    torch.testing.assert_close(model(doubled), model(features))


def test_gradients_reach_every_parameter_and_every_feature() -> None:
    model = make()
    features = [feature.requires_grad_() for feature in feature_maps()]
    (model(features) ** 2).sum().backward()
    # The last pixel of a 1 x 1 map is the whole of it whatever q_init says, so its q_init alone sees no gradient.
    silent = {name for name, parameter in model.named_parameters() if parameter.grad.abs().max() < 1e-12}
    assert silent == {"layers.3.q_init"}
    assert all(feature.grad.abs().max() > 0 for feature in features)


def test_learned_queries_ignore_the_image() -> None:
    queries = LearnedQueries(C, R)(feature_maps(batch=3))
    assert queries.shape == (3, R, C)
    torch.testing.assert_close(queries[0], queries[2])


def share_between_images(model: torch.nn.Module, images: int = 16) -> float:
    """Return which share of the queries' variance lies between images, of maps whose channels differ by image."""
    torch.manual_seed(2)
    maps = [
        torch.randn(images, c, 1, 1, dtype=torch.float64) + torch.randn(images, c, *size, dtype=torch.float64)
        for c, size in zip(CHANNELS, SIZES, strict=True)
    ]
    between = BetweenImages()
    between.update(model(maps))
    return between.share()


def test_residuals_from_the_layers_let_the_image_through() -> None:
    shares = {}
    for residual in ("q_init", "layers"):
        torch.manual_seed(0)
        shares[residual] = share_between_images(AgentQueries(CHANNELS, 32, 20, residual=residual).double())
    assert shares["q_init"] < 0.1
    assert shares["layers"] > max(0.2, 2 * shares["q_init"])


def test_residuals_from_the_layers_are_each_slots_mean() -> None:
    """With all else silent, a stage hands on the mean of a slot over the groups that become one."""
    stage = MergingStage(C, 2 * R, residual="layers", groups=2)
    for part in (stage.cross_attention.value, stage.self_attention.value, stage.cross_ffn[2], stage.self_ffn[2]):
        for parameter in part.parameters():
            torch.nn.init.zeros_(parameter)
    queries = torch.randn(1, 4 * R, C)
    slots = queries.view(1, 4, R, C)
    expected = torch.cat([slots[:, :2].mean(1), slots[:, 2:].mean(1)], 1)
    torch.testing.assert_close(stage(queries), expected)


def test_groups_that_do_not_divide_are_refused_with_residuals_from_the_layers() -> None:
    with pytest.raises(QueryDiffError, match="found 4 layers and groups 3, 1"):
        AgentQueries(CHANNELS, C, R, groups=[3, 1], residual="layers")


def test_the_spread_of_scores_decides_how_far_attention_reaches() -> None:
    torch.manual_seed(0)
    feature = torch.randn(4, 64, 64, 64)
    reach = {
        spread: perplexity_share(AgentQueries([64], 64, 20, spread=spread).attention([feature])[0].detach())
        for spread in (1.0, 2.0)
    }
    assert reach[1.0] == pytest.approx(math.exp(-1 / 2), rel=0.1)  # exp(-spread^2 / 2) of normal scores
    assert 0.12 < reach[2.0] < 0.25  # a little more, as scores are bounded
    soft = AgentQueries([64], 64, 20)
    assert perplexity_share(soft.attention([feature])[0].detach()) > 0.55  # a spread of about 1


def test_competing_queries_share_each_pixel_out() -> None:
    model = AgentQueries([5], C, R, softmax_over="competing").double()
    feature = torch.randn(2, 5, 4, 6, dtype=torch.float64)
    (weights,) = model.attention([feature])
    pixels = model.layers[0].norm(model.layers[0].project(feature.flatten(2).mT))
    claims = (C**-0.5 * (pixels @ model.layers[0].q_init.T)).softmax(2).mT
    torch.testing.assert_close(weights, claims / (claims.sum(2, keepdim=True) + 1e-6))
    torch.testing.assert_close(weights.sum(2), torch.ones(2, R, dtype=torch.float64), atol=1e-5, rtol=0)


def test_positions_tell_where_pixels_are() -> None:
    torch.manual_seed(0)
    model = AgentQueries(CHANNELS, C, R, positions=True).double()
    features = feature_maps()
    mirrored = model([f.flip(3) for f in features])
    assert (mirrored - model(features)).abs().max() > 1e-3
    torch.testing.assert_close(make()([f.flip(3) for f in features]), make()(features))


def test_centred_queries_have_nothing_in_common_between_images() -> None:
    torch.manual_seed(0)
    model = AgentQueries(CHANNELS, 32, 20, centred=0.05).double().train()
    for _ in range(100):
        model([torch.randn(16, c, *size, dtype=torch.float64) for c, size in zip(CHANNELS, SIZES, strict=True)])
    model.eval()
    maps = [torch.randn(64, c, *size, dtype=torch.float64) for c, size in zip(CHANNELS, SIZES, strict=True)]
    between = BetweenImages()
    between.update(model(maps))
    assert between.share() > 0.8
    torch.testing.assert_close(model(maps)[:1], model([m[:1] for m in maps]))  # no other image of the batch


def test_merged_tokens_are_the_same_for_every_image_and_learn() -> None:
    torch.manual_seed(0)
    sets = [torch.randn(R, width, requires_grad=True) for width in CHANNELS]
    model = TokenQueries(lambda: sets, CHANNELS, C, R)
    queries = model([torch.randn(3, 1, 1, 1)])
    assert queries.shape == (3, R, C)
    assert model.groups == (2, 1)
    torch.testing.assert_close(queries[0], queries[2])
    (queries**2).sum().backward()
    assert all(tokens.grad.abs().max() > 0 for tokens in sets)
