"""What the training module hands to Lightning: its objective, its parameter groups, and nothing of the teacher."""

import lightning
import pytest
import torch
from teachers import write_tiny_teacher

from querydiff_core.data.datamodule import Crop
from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.sliding_window import SlidingWindow
from querydiff_core.training.distillation import TeacherOptions
from querydiff_core.training.semantic_module import SemanticModule, StudentOptions, windowed_scores


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return TeacherOptions(str(write_tiny_teacher(tmp_path_factory.mktemp("teacher"))))


def module(teacher, **options):
    """Return a module with a real trainer that trains for 10 steps."""
    torch.manual_seed(0)
    made = SemanticModule(variant="tiny", teacher=teacher, **options)
    made.trainer = lightning.Trainer(
        accelerator="cpu", max_steps=10, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    return made


def identities(parameters):
    return {id(parameter) for parameter in parameters}


@pytest.mark.parametrize(("alpha", "supervision", "distribution"), [(0.25, 1.0, 1.0), (3.0, 2.0, 0.5)])
def test_the_objective_is_equation_14(teacher, alpha, supervision, distribution):
    weights = {"alpha": alpha, "supervision_weight": supervision, "distribution_weight": distribution}
    made = module(teacher, auxiliary_weight=0.75, **weights)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    labels = torch.randint(0, 19, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    with torch.no_grad():
        found = {name: float(value) for name, value in made._losses(Crop(image, labels, torch.arange(2))).items()}
    segmentation = 5 * found["bce"] + 5 * found["dice"] + 2 * found["class"] + 0.75 * found["pixel"]
    diffusion = supervision * found["sup"] + distribution * found["dist"]
    assert diffusion > 0.1
    assert found["loss"] == pytest.approx(segmentation + alpha * diffusion, rel=1e-5)


def test_alpha_gives_the_teacher_its_share_of_the_gradient(teacher):
    made = module(teacher, alpha=7.0, gradient_share=0.2, instruments_every=2)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    labels = torch.randint(0, 19, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    found = made._losses(Crop(image, labels, torch.arange(2)))
    measured = made._measured
    assert float(measured["teaching/queries"]) == pytest.approx(0.2, rel=1e-4)
    assert float(measured["teaching/alpha"]) == pytest.approx(made.teaching.alpha, rel=1e-6)
    assert 0 < float(measured["teaching/backbone"]) < 10
    assert 0.05 <= measured["teaching/queries_of_a_cell_0"] <= 1
    assert 0 < measured["queries/variance_between_images"] < 1
    segmentation = 5 * found["bce"] + 5 * found["dice"] + 2 * found["class"] + 0.5 * found["pixel"]
    expected = segmentation + made.teaching.alpha * (found["sup"] + found["dist"])
    torch.testing.assert_close(found["loss"], expected, rtol=1e-5, atol=0)
    made._losses(Crop(image, labels, torch.arange(2, 4)))  # step 1
    assert made._measured == {}
    assert "teaching.log_alpha" in made.state_dict()


def test_the_pixel_head_trains_only_what_it_runs():
    """Processes that train together would wait for the others' gradients."""
    made = module(None, phase="pixel_head", student=StudentOptions(refinement=False))
    labels = torch.randint(0, 19, (2, 64, 64))
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    made._losses(Crop(image, labels, torch.arange(2)))["loss"].backward()
    trained = {name: parameter for name, parameter in made.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trained.items() if parameter.grad is None] == []


@pytest.mark.parametrize("teaches", [True, False])
def test_a_share_of_a_gradient_that_is_never_measured_is_refused(teacher, teaches):
    with pytest.raises(QueryDiffError, match="it needs a teacher, and instruments_every of 1 or more"):
        module(teacher if teaches else None, gradient_share=0.2, instruments_every=0 if teaches else 100)


@pytest.mark.parametrize("scheme", ["full", "rein"])
def test_the_pretrained_network_learns_at_a_rate_of_its_own(teacher, scheme):
    rates = {"learning_rate": 3e-4, "backbone_learning_rate": 2e-5}
    made = module(teacher, warm_up=0, student=StudentOptions(scheme=scheme), **rates)
    groups = made.configure_optimizers()["optimizer"].param_groups
    found = {group["lr"]: identities(group["params"]) for group in groups}
    network = identities(made.model.backbone.network.parameters())
    rest = identities(p for p in made.parameters() if p.requires_grad) - network
    assert identities(made.distillation.consistency.parameters()) <= rest
    assert identities(made.model.backbone.parameters()) - network <= rest  # Rein's tokens
    assert found == ({3e-4: rest, 2e-5: network} if scheme == "full" else {3e-4: rest})


def test_weight_decay_leaves_out_norms_biases_queries_and_tokens(teacher):
    made = module(teacher, decay_matrices_alone=True, student=StudentOptions(scheme="rein"))
    names = {id(parameter): name for name, parameter in made.named_parameters()}
    groups = made.configure_optimizers()["optimizer"].param_groups
    decayed, left_out = (
        {names[id(p)] for group in groups if group["weight_decay"] == decay for p in group["params"]}
        for decay in (0.05, 0.0)
    )
    assert decayed | left_out == {names[id(p)] for p in made.parameters() if p.requires_grad}
    queries = {"model.agent_queries.layers.0.q_init", "model.agent_queries.stages.0.q_init"}
    queries |= {"model.mask_decoder.position_embedding", "model.backbone.reins.0.a", "model.backbone.reins.0.b"}
    assert queries <= left_out
    shapes = {name: parameter.dim() for name, parameter in made.named_parameters()}
    ends = {"q_init", "position_embedding", "level_embedding", "a", "b"}
    assert {name.rsplit(".", 1)[-1] for name in left_out if shapes[name] > 1} == ends
    assert min(shapes[name] for name in decayed) > 1
    assert "model.agent_queries.mlp.0.weight" in decayed


def test_windows_of_validation_average_their_scores():
    images = torch.rand(1, 3, 60, 130)
    window = SlidingWindow.of(64, None)  # every 42 pixels; 60 rows are enlarged to 64

    def left_edge(seen):
        """Score 1 in the window's left half and 3 in its right half, at a quarter of its size."""
        scores = torch.ones(1, 19, 16, 16)
        scores[..., 8:] = 3
        return scores

    found = windowed_scores(left_edge, images, window)
    assert found.shape == (1, 19, 64, 130)
    # Windows begin at columns 0, 42 and 66.
    assert found[0, 0, 0, [0, 20, 45, 80, 100, 129]].tolist() == pytest.approx([1, 1, 2, 2, 3, 3])


def test_the_teacher_is_no_part_of_what_lightning_sees(teacher):
    made = module(teacher)
    diffusion = made.distillation.teacher
    theirs = identities([*diffusion.parameters(), *diffusion.buffers()])
    assert len(theirs) > 100
    assert theirs.isdisjoint(identities([*made.parameters(), *made.buffers()]))
    assert diffusion not in list(made.modules())
    optimizer = made.configure_optimizers()["optimizer"]
    assert theirs.isdisjoint(identities(p for group in optimizer.param_groups for p in group["params"]))
    taught = {name for name in made.state_dict() if name.startswith("distillation.")}
    assert taught == {f"distillation.consistency.{name}" for name in made.distillation.consistency.state_dict()}
