"""What runs on a GPU in training and inference gives what the CPU gives, and makes its tensors where it runs."""

import lightning
import pytest
import torch
from pretend_gpu import GPU, gpu_autocast, pretend_gpu
from students import SIZE, TRAINED
from teachers import write_tiny_teacher
from torch.nn.functional import interpolate

from querydiff_core.data.datamodule import Crop
from querydiff_core.inference.checkpoint import load_checkpoint
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.teacher.latent_diffusion.networks import WIDTHS, new_autoencoder
from querydiff_core.training.autoencoder_module import set_scaling_factor
from querydiff_core.training.distillation import TeacherOptions
from querydiff_core.training.semantic_module import SemanticModule

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here")


def test_mixed_devices_and_types_are_refused():
    with pretend_gpu() as gpu:
        matrix = torch.ones(2, 2, device=GPU)
        assert (matrix @ matrix).device == GPU
        assert (matrix[torch.tensor([1])] * 2.5).tolist() == [[2.5, 2.5]]
        with pytest.raises(RuntimeError, match="same device"):
            matrix @ torch.ones(2, 2)
        with pytest.raises(RuntimeError, match="same type"):
            matrix @ matrix.half()
        assert gpu.uploads == []
        torch.tensor([1.0, 2.0], device=GPU)
        assert len(gpu.uploads) == 1


def test_a_training_step_has_the_losses_of_the_cpu(tmp_path):
    torch.manual_seed(0)
    teacher = TeacherOptions(str(write_tiny_teacher(tmp_path)), channels_last=True)
    made = SemanticModule(variant="tiny", teacher=teacher, instruments_every=0)
    made.trainer = lightning.Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    labels = torch.randint(0, 19, (2, 4, 4)).repeat_interleave(16, 1).repeat_interleave(16, 2)
    labels[0, :8] = 255
    batch = Crop(image, labels, torch.arange(2))
    expected = {name: value.item() for name, value in made._losses(batch).items()}
    with pretend_gpu() as gpu:
        made.to(GPU)
        moved = Crop(*(tensor.to(GPU) for tensor in batch))
        found = made._losses(moved)
        assert {value.device for value in found.values()} == {GPU}
        assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-5)
        with gpu_autocast(torch.bfloat16):
            halved = made._losses(moved)
            gpu.uploads.clear()
            assert made.model(made.normalise(moved.image)).masks[-1].dtype == torch.bfloat16
        assert gpu.uploads == []
        assert halved["loss"].item() == pytest.approx(expected["loss"], rel=0.02)


def test_a_frame_has_the_labels_of_the_cpu():
    graph = SegmentationGraph(load_checkpoint(TRAINED)[0], SIZE)
    blots = torch.randint(0, 256, (2, 3, 4, 8), generator=torch.Generator().manual_seed(0)).float()
    images = interpolate(blots, (48, 96), mode="bicubic").clamp(0, 255).byte().permute(0, 2, 3, 1)
    with torch.no_grad():
        labels, confidence = graph(images)
        assert len(labels.unique()) > 2  # or equality would say nothing
        with pretend_gpu() as gpu:
            graph.to(GPU)
            moved = images.to(GPU)
            gpu.uploads.clear()
            found = graph(moved)
            assert gpu.uploads == []
            assert (found[0].cpu() == labels).float().mean() > 0.995
            assert (found[1].cpu().int() - confidence).abs().max() <= 1


def test_latents_are_scaled_where_training_leaves_the_autoencoder():
    torch.manual_seed(0)
    autoencoder, images = new_autoencoder(WIDTHS["tiny"], 8), torch.rand(2, 3, 32, 32)
    set_scaling_factor(autoencoder, images)
    expected = autoencoder.config["scaling_factor"]
    with pretend_gpu():
        set_scaling_factor(autoencoder, images.to(GPU))
    assert autoencoder.config["scaling_factor"] == pytest.approx(expected, rel=1e-5)
