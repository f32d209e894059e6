"""The student as a whole."""

import pytest
import torch

from querydiff_core.models.build import build_model
from querydiff_core.models.querydiff import QueryDiff, QueryDiffOutput, semantic_probabilities


@pytest.fixture
def model() -> QueryDiff:
    torch.manual_seed(0)
    return build_model("tiny")


@pytest.fixture
def images() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 3, 64, 96)


def test_training_gives_all_layers_and_pixel_logits(model: QueryDiff, images: torch.Tensor) -> None:
    output = model.train()(images)
    assert [masks.shape for masks in output.masks] == [(2, 20, 16, 24)] * 4
    assert [classes.shape for classes in output.classes] == [(2, 20, 20)] * 4
    assert output.agent_queries.shape == (2, 20, 64)
    assert output.pixel_logits is not None
    assert output.pixel_logits.shape == (2, 19, 16, 24)


def test_inference_gives_the_last_layer_alone(model: QueryDiff, images: torch.Tensor) -> None:
    output = model.eval()(images)
    assert (len(output.masks), len(output.classes), output.pixel_logits) == (1, 1, None)


def test_images_of_a_batch_do_not_see_each_other(model: QueryDiff, images: torch.Tensor) -> None:
    together = semantic_probabilities(model.eval()(images))
    alone = torch.cat([semantic_probabilities(model(image[None])) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    queries = model(images).agent_queries
    assert (queries[0] - queries[1]).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(32, 32), (50, 131), (1, 1)])
def test_takes_images_of_any_size(model: QueryDiff, size: tuple[int, int]) -> None:
    scores = semantic_probabilities(model.eval()(torch.randn(1, 3, *size)))
    assert scores.shape == (1, 19, -(-size[0] // 4), -(-size[1] // 4))


def test_the_pixel_path_is_the_auxiliary_head_of_the_whole(model: QueryDiff, images: torch.Tensor) -> None:
    # With the batch's own statistics in BatchNorm both passes see the same network.
    torch.testing.assert_close(model.train().pixel_path(images), model(images).pixel_logits)


def test_the_pixel_path_trains_all_but_the_mask_decoder_and_its_maps(model: QueryDiff, images: torch.Tensor) -> None:
    (model.pixel_path(images) ** 2).sum().backward()
    silent = {name.rsplit(".", 1)[0] for name, parameter in model.named_parameters() if parameter.grad is None}
    assert {name.split(".")[0] for name in silent} == {"mask_decoder", "refinements"}
    assert not any(name.startswith("refinements.0") for name in silent)


def test_the_pixel_path_needs_its_head() -> None:
    with pytest.raises(RuntimeError, match="auxiliary_head"):
        build_model("tiny", auxiliary_head=False).pixel_path(torch.randn(1, 3, 32, 32))


def test_gradients_reach_every_parameter(model: QueryDiff, images: torch.Tensor) -> None:
    for parameter in model.parameters():
        if not parameter.any():  # some start at zero, which would stop the gradient of what comes before
            torch.nn.init.normal_(parameter, std=0.1)
    output = model.train()(images)
    sum((part**2).mean() for part in (*output.masks, *output.classes, output.pixel_logits)).backward()
    silent = [name for name, parameter in model.named_parameters() if not (parameter.grad.abs().max() > 0)]
    # Keys carry no bias in attention: a constant added to every key changes no softmax.
    assert [name for name in silent if not name.endswith("k_proj.bias")] == []
    reached = dict(model.named_parameters())
    for name in ("agent_queries.layers.0.q_init", "agent_queries.stages.1.q_init", "backbone.network.conv1.weight"):
        assert reached[name].grad.abs().max() > 1e-9, name


def test_semantic_probabilities_sum_class_times_mask_probability() -> None:
    torch.manual_seed(0)
    masks, classes = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 7, dtype=torch.float64)
    scores = semantic_probabilities(QueryDiffOutput([torch.empty(0), masks], [torch.empty(0), classes], masks, None))
    assert scores.shape == (2, 6, 4, 5)
    probability = classes.exp() / classes.exp().sum(-1, keepdim=True)
    expected = sum(probability[1, q, 2] / (1 + torch.exp(-masks[1, q, 3, 4])) for q in range(3))
    torch.testing.assert_close(scores[1, 2, 3, 4], expected)


def test_exports_with_a_dynamic_batch(images: torch.Tensor) -> None:
    model = build_model("tiny", decoder_layers=1)

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.eval()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return semantic_probabilities(self.model(images))

    program = torch.export.export(Scores(), (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    three = torch.randn(3, 3, 64, 96)
    torch.testing.assert_close(program.module()(three), Scores()(three), rtol=1e-4, atol=1e-5)
    unused = [name for name in program.state_dict if name.startswith("model.pixel_head")]
    assert all(name not in str(program.graph_module.code) for name in unused)
