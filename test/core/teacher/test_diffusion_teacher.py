"""The diffusion teacher on tiny Stable Diffusions with random weights: real classes, real files, no download."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from teachers import SIZE, UNET_OF_2, write_tiny_teacher
from transformers import CLIPTextModel, CLIPTokenizer

from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher
from querydiff_core.teacher.teacher_description import describe


def alphas_cumprod() -> np.ndarray:
    """Return abar of Stable Diffusion's schedule, in float64 from its definition: betas linear in their roots."""
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def whole_unet(folder: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)


def empty_text(folder: Path) -> torch.Tensor:
    tokens = CLIPTokenizer.from_pretrained(folder / "tokenizer")("", padding="max_length", max_length=77).input_ids
    return CLIPTextModel.from_pretrained(folder / "text_encoder").eval()(torch.tensor([tokens]))[0]


def layer_norm(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


@torch.no_grad()
def naive_features(
    folder: Path, images: torch.Tensor, noise: torch.Tensor, timestep: int, names: list[str]
) -> list[np.ndarray]:
    """Return what one whole untouched pass at one timestep gives: VAE, text, UNet to its end, plain hooks."""
    vae = AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False).eval()
    unet, kept = whole_unet(folder).eval(), {}
    for name in names:
        unet.get_submodule(name).register_forward_hook(lambda m, i, output, name=name: kept.update({name: output}))
    z_0 = vae.encode(2 * images - 1).latent_dist.mode().numpy().astype(np.float64) * 0.18215
    abar = alphas_cumprod()[timestep] if timestep else 1.0
    z_t = np.sqrt(abar) * z_0 + np.sqrt(1 - abar) * noise.numpy()  # Eq. 1
    unet(torch.from_numpy(z_t).float(), timestep, empty_text(folder).expand(len(images), -1, -1))
    maps = [kept[name][0] if isinstance(kept[name], tuple) else kept[name] for name in names]
    return [layer_norm(m.flatten(2).transpose(1, 2).double().numpy()) for m in maps]


@pytest.mark.parametrize(
    "names",
    [
        ["up_blocks.1.resnets.2", "up_blocks.2.resnets.2"],
        ["up_blocks.2.attentions.1", "up_blocks.0.resnets.0"],  # not in the order of computation
        ["up_blocks.1.attentions.2", "up_blocks.1.resnets.0", "up_blocks.1"],
        ["up_blocks.2", "up_blocks.0"],
        ["up_blocks.3.resnets.0", "up_blocks.3.attentions.2", "up_blocks.3"],
        ["up_blocks.0.resnets.1"],
    ],
    ids="+".join,
)
def test_stopping_early_changes_nothing(
    folder: Path, images: torch.Tensor, noise: torch.Tensor, names: list[str]
) -> None:
    teacher = DiffusionTeacher.load(folder, features=names, weak_timestep=50, strong_timestep=400)
    features = teacher(images, noise)
    for found, timestep in ((features.weak, 50), (features.strong, 400)):
        for feature, reference in zip(found, naive_features(folder, images, noise, timestep, names), strict=True):
            np.testing.assert_allclose(feature.numpy(), reference, atol=2e-4)
    assert teacher.channels == tuple(f.shape[2] for f in features.weak)
    assert [h * w for h, w in features.sizes] == [f.shape[1] for f in features.strong]


def test_stopping_early_is_bit_equal_for_equal_inputs(folder: Path) -> None:
    teacher = DiffusionTeacher.load(folder)
    whole, kept = whole_unet(folder), []
    for name in teacher.unet.names:
        whole.get_submodule(name).register_forward_hook(lambda m, i, output: kept.append(output))
    inputs = torch.randn(2, 4, 8, 16), torch.tensor([0, 100]), torch.randn(2, 77, 16)
    with torch.no_grad():
        whole(*inputs)
        found = teacher.unet(*inputs)
    assert all(torch.equal(a, b) for a, b in zip(found, kept, strict=True))


def test_weak_timestep_zero_adds_no_noise(folder: Path, images: torch.Tensor, noise: torch.Tensor) -> None:
    teacher = DiffusionTeacher.load(folder)
    features, others = teacher(images, noise), teacher(images, 3 * noise)
    assert all(torch.equal(a, b) for a, b in zip(features.weak, others.weak, strict=True))
    assert all((a - b).abs().max() > 1e-2 for a, b in zip(features.strong, others.strong, strict=True))
    names = list(teacher.unet.names)
    for feature, reference in zip(features.weak, naive_features(folder, images, noise, 0, names), strict=True):
        np.testing.assert_allclose(feature.numpy(), reference, atol=2e-4)


def test_draws_noise_of_its_own(folder: Path, images: torch.Tensor) -> None:
    teacher = DiffusionTeacher.load(folder)
    torch.manual_seed(3)
    first = teacher(images).strong[0]
    assert not torch.equal(first, teacher(images).strong[0])
    torch.manual_seed(3)
    assert torch.equal(first, teacher(images).strong[0])
    torch.manual_seed(3)
    assert torch.equal(first, teacher(images, torch.randn(2, *teacher.latent_shape(*SIZE))).strong[0])


def test_noise_follows_equation_1(folder: Path, noise: torch.Tensor, images: torch.Tensor) -> None:
    """With a UNet whose first activation is known in closed form, z_t itself is visible."""
    teacher = DiffusionTeacher.load(folder, weak_timestep=7, strong_timestep=640)
    seen = []
    teacher.unet.unet.conv_in.register_forward_hook(lambda m, inputs, output: seen.append(inputs[0]))
    teacher(images, noise)
    z_0 = teacher.encode(images).double().numpy()
    abar = alphas_cumprod()[[7, 640]]
    expected = np.concatenate([np.sqrt(a) * z_0 + np.sqrt(1 - a) * noise.numpy() for a in abar])
    assert len(seen) == 1, "both timesteps are one batch"
    np.testing.assert_allclose(seen[0].numpy(), expected, atol=1e-5)


def test_v_prediction_gives_the_same_activations(folder: Path, tmp_path: Path, images: torch.Tensor) -> None:
    other = write_tiny_teacher(tmp_path, prediction_type="v_prediction")
    assert describe(other, SIZE).prediction_type == "v_prediction"
    noise = torch.zeros(2, 4, 8, 16)
    ours, theirs = (DiffusionTeacher.load(path)(images, noise).strong for path in (folder, other))
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_folder_shaped_as_stable_diffusion_2_is_read(
    tmp_path: Path, images: torch.Tensor, noise: torch.Tensor
) -> None:
    folder = write_tiny_teacher(tmp_path, prediction_type="v_prediction", unet=UNET_OF_2)
    teacher = DiffusionTeacher.load(folder)
    attentions = [block.attentions[0] for block in teacher.unet.unet.down_blocks[:3]]
    assert all(isinstance(each.proj_in, torch.nn.Linear) for each in attentions)
    processors = [each.transformer_blocks[0].attn1 for each in attentions]
    assert [(each.heads, each.upcast_attention) for each in processors] == [(2, True), (2, True), (3, True)]
    names, features = list(teacher.unet.names), teacher(images, noise)
    for found, timestep in ((features.weak, 0), (features.strong, 100)):
        for feature, reference in zip(found, naive_features(folder, images, noise, timestep, names), strict=True):
            np.testing.assert_allclose(feature.numpy(), reference, atol=2e-4)


def test_is_frozen_in_every_sense(folder: Path, images: torch.Tensor) -> None:
    teacher = DiffusionTeacher.load(folder)
    for mode in (True, False):
        teacher.train(mode)
        assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    images = images.clone().requires_grad_()
    features = teacher(images)
    assert not any(f.requires_grad for f in features.weak + features.strong)
    scale = torch.ones((), requires_grad=True)  # results may take part in a graph, which inference mode would forbid
    (scale * features.weak[0]).square().sum().backward()
    assert scale.grad > 0
    assert images.grad is None


def test_keeps_only_what_runs(folder: Path) -> None:
    teacher = DiffusionTeacher.load(folder, features=["up_blocks.1.resnets.0"])
    names = [name for name, _ in teacher.named_parameters()]
    assert not any(part in name for name in names for part in ("decoder", "up_blocks.2", "up_blocks.1.resnets.1"))
    assert not any(part in name for name in names for part in ("up_blocks.1.attentions", "unet.conv_out", "text_model"))


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.5), ("fp16", 0.05)])
def test_half_precision(
    folder: Path, images: torch.Tensor, noise: torch.Tensor, precision: str, tolerance: float
) -> None:
    teacher = DiffusionTeacher.load(folder, precision=precision, channels_last=True)
    exact = DiffusionTeacher.load(folder)(images, noise)
    with torch.autocast("cpu", torch.bfloat16):  # of the student's; it must not reach into the teacher
        features = teacher(images, noise)
    for feature, reference in zip(features.weak + features.strong, exact.weak + exact.strong, strict=True):
        assert feature.dtype == torch.float32
        assert 0 < (feature - reference).abs().max() < tolerance


def test_autocast_does_not_reach_the_teacher(folder: Path, images: torch.Tensor, noise: torch.Tensor) -> None:
    teacher = DiffusionTeacher.load(folder)
    with torch.autocast("cpu", torch.bfloat16):
        features = teacher(images, noise)
    assert all(torch.equal(a, b) for a, b in zip(features.strong, teacher(images, noise).strong, strict=True))


def test_a_teacher_that_was_loaded_to_be_compiled_is(folder: Path, images: torch.Tensor, noise: torch.Tensor) -> None:
    """What `compile=True` asks for, with a backend that runs the captured graphs instead of generating code."""
    if not hasattr(torch.compiler, "set_default_backend"):
        pytest.skip("this PyTorch cannot choose the backend of torch.compile, and the default takes minutes")
    graphs, names = [], ["up_blocks.0.resnets.0", "up_blocks.0.resnets.2"]
    torch.compiler.set_default_backend(lambda graph, inputs: graphs.append(graph) or graph.forward)
    try:
        compiled = DiffusionTeacher.load(folder, features=names, compile=True)(images, noise)
    finally:
        torch.compiler.set_default_backend(None)
    assert len(graphs) == 2, "one graph of the VAE's encoder and one of the UNet: hooks must not break it"
    plain = DiffusionTeacher.load(folder, features=names)(images, noise)
    for a, b in zip(plain.weak + plain.strong, compiled.weak + compiled.strong, strict=True):
        torch.testing.assert_close(a, b)


def test_a_copy_is_independent(folder: Path, images: torch.Tensor, noise: torch.Tensor) -> None:
    teacher = DiffusionTeacher.load(folder)
    twin = copy.deepcopy(teacher)
    assert all(torch.equal(a, b) for a, b in zip(teacher(images, noise).weak, twin(images, noise).weak, strict=True))


def test_description_is_what_the_teacher_does(folder: Path, images: torch.Tensor, noise: torch.Tensor) -> None:
    found = describe(folder, SIZE)
    names = [feature.name for feature in found.features]
    teacher = DiffusionTeacher.load(folder, features=names)
    features = teacher(images, noise)
    assert [f.channels for f in found.features] == list(teacher.channels)
    assert [f.grid for f in found.features] == features.sizes
    assert found.multiple == teacher.multiple == 64
    assert found.used_unet_flops < found.unet_flops
    used = sum(p.numel() for p in DiffusionTeacher.load(folder).unet.parameters())
    assert used == found.used_unet_parameters < found.unet_parameters
    assert sum(p.numel() for p in teacher.vae.parameters()) == found.encoder_parameters


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(QueryDiffError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_refuses_unknown_features(folder: Path) -> None:
    message = refused(lambda: DiffusionTeacher.load(folder, features=["up_blocks.1.resnet.2"]))
    assert "'up_blocks.1.resnet.2'" in message
    assert "up_blocks.1.resnets.2" in message
    assert "one or more different" in refused(lambda: DiffusionTeacher.load(folder, features=[]))
    twice = ["up_blocks.1", "up_blocks.1"]
    assert "one or more different" in refused(lambda: DiffusionTeacher.load(folder, features=twice))


@pytest.mark.parametrize("timesteps", [(0, 1000), (-1, 100), (200, 100)])
def test_refuses_timesteps_out_of_range(folder: Path, timesteps: tuple[int, int]) -> None:
    weak, strong = timesteps
    message = refused(lambda: DiffusionTeacher.load(folder, weak_timestep=weak, strong_timestep=strong))
    assert "999" in message
    assert str(weak) in message


@pytest.mark.parametrize("size", [(64, 96), (32, 64), (100, 100)])
def test_refuses_sides_that_do_not_divide(folder: Path, size: tuple[int, int]) -> None:
    teacher = DiffusionTeacher.load(folder)
    assert "multiples of 64" in refused(lambda: teacher(torch.rand(1, 3, *size)))
    assert "multiples of 64" in refused(lambda: describe(folder, size))
