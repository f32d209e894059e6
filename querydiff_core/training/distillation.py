"""Distillation: the teacher's features of the training crops, and the loss that they give the agent queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.errors import QueryDiffError
from querydiff_core.models.backbone import Backbone
from querydiff_core.teacher.consistency_loss import ConsistencyLoss
from querydiff_core.teacher.control_teacher import ControlTeacher, is_control
from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher
from querydiff_core.teacher.frozen_teacher import FrozenTeacher, TeacherFeatures, check_sides
from querydiff_core.teacher.teacher_probe import check_gate, probe_teacher
from querydiff_core.teacher.unet_features import DEFAULT_FEATURES
from querydiff_core.utils.seeds import NOISE, mixed_seed

if TYPE_CHECKING:
    import lightning


@dataclass
class TeacherOptions:
    """Which diffusion model teaches, and how (docs/method.md, section 2).

    `source` is a folder in the diffusers layout, a name on the hub, or, such as `control:tf_efficientnet_lite0`, no
    diffusion model but a control (`ControlTeacher`). `features` are the UNet blocks whose activations teach.
    `weak_timestep` and `strong_timestep` are t_w and t_s, among the scheduler's (1,000) timesteps. `scaled` says
    whether Eq. 8 divides by sqrt(c_j), which may leave the similarities of a narrow teacher too soft (docs/teacher.md);
    `similarity_spread`, `summed_pixels` and `supervise_queries` are further settings of `ConsistencyLoss`. `gate`
    probes teacher and backbone on the first training source before the first step, and refuses a teacher that knows
    less; `force` shows the figures and goes on. `precision`, `channels_last` and `compile` trade memory and time; half
    precision wants a GPU.
    """

    source: str
    features: tuple[str, ...] = DEFAULT_FEATURES
    weak_timestep: int = 0
    strong_timestep: int = 100
    scaled: bool = True
    similarity_spread: float | None = None
    summed_pixels: bool = False
    supervise_queries: bool = False
    gate: Literal["off", "on", "force"] = "off"
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    channels_last: bool = False
    compile: bool = False

    def load(self, *, pretrained: bool = True) -> FrozenTeacher:
        """Return the teacher, frozen; if not `pretrained`, with random weights, to compare with."""
        if is_control(self.source):
            return ControlTeacher.load(self.source, self.weak_timestep, self.strong_timestep, pretrained=pretrained)
        return DiffusionTeacher.load(
            self.source,
            features=self.features,
            weak_timestep=self.weak_timestep,
            strong_timestep=self.strong_timestep,
            precision=self.precision,
            channels_last=self.channels_last,
            compile=self.compile,
            pretrained=pretrained,
        )

    def taught(self) -> dict[str, Any]:
        """Return the options that decide what a teacher teaches, without those that decide how fast, or whether."""
        options = {**asdict(self), "source": self.source.rstrip("/"), "features": list(self.features)}
        for name in ("gate", "precision", "channels_last", "compile"):
            del options[name]
        return options

    def advice(self) -> str:
        """Return which setting cures losses (sup, dist) that are not finite, a sentence; empty if none does."""
        if self.precision != "fp16":
            return ""
        return (
            "If it is sup or dist, the teacher overflows in fp16: resume with --model.teacher.precision bf16 or fp32. "
        )


class Distillation(nn.Module):
    """Teach agent queries of c channels with a diffusion model.

    The teacher is hidden from PyTorch's registry: it has no part in checkpoints, parameter groups, exports, or what
    DDP and FSDP synchronise. Only the loss's projections (Linear_j) are parameters, and they stay behind in training.

    Args:
        options: which teacher, and how it teaches.
        channels: c, the channels of an agent query.
        supervision_weight: weight of L_sup (Eq. 12); 0 switches it off.
        distribution_weight: weight of L_dist (Eq. 12); 0 switches it off.
        seed: seed of the noise.
    """

    def __init__(
        self,
        options: TeacherOptions,
        channels: int,
        supervision_weight: float = 1.0,
        distribution_weight: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._hidden = [options.load()]
        self.options, self.seed = options, seed
        self.consistency = ConsistencyLoss(
            channels,
            self.teacher.channels,
            supervision_weight=supervision_weight,
            distribution_weight=distribution_weight,
            scaled=options.scaled,
            similarity_spread=options.similarity_spread,
            summed_pixels=options.summed_pixels,
            supervise_queries=options.supervise_queries,
        )

    @property
    def teacher(self) -> FrozenTeacher:
        """The frozen teacher."""
        return self._hidden[0]

    def check(self, crop: Sequence[int]) -> None:
        """Refuse a crop (height, width) that the teacher's grids do not divide, before training starts."""
        check_sides(crop, self.teacher.multiple, "data.crop")

    def pass_gate(
        self, backbone: Backbone, pairs: LabelledPairs, crop: Sequence[int], trainer: lightning.Trainer
    ) -> None:
        """Let the first process probe teacher and backbone, where options ask for it, and show what it found.

        Raises:
            QueryDiffError: in all processes, if the teacher knows less or cannot be probed.
        """
        refusal = None
        if trainer.is_global_zero and self.options.gate != "off":
            try:
                self._probe(backbone, pairs, crop, str(trainer.strategy.root_device))
            except QueryDiffError as error:
                refusal = str(error)
        refusal = trainer.strategy.broadcast(refusal)
        if refusal is not None:
            raise QueryDiffError(refusal)

    def _probe(self, backbone: Backbone, pairs: LabelledPairs, crop: Sequence[int], device: str) -> None:
        height, width = crop
        source, random = self.options.source, self.options.load(pretrained=False)
        scores = probe_teacher(self.teacher, random, backbone, pairs, (height, width), device)
        found = ", ".join(f"{name} {100 * score.miou:.1f}" for name, score in scores.items())
        print(f"linear probe of {source}, mIoU: {found}", flush=True)
        if self.options.gate != "force":
            check_gate(source, scores)

    def forward(self, images: Tensor, agent_queries: Tensor, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Return L_sup, L_dist and their weighted sum as `sup`, `dist` and `loss`.

        Args:
            images: RGB in 0..1, `(B, 3, H, W)`.
            agent_queries: the student's queries for these images, `(B, r, c)`.
            numbers: numbers of the B draws; the noise of an image is a function of its number.
        """
        losses: dict[str, Tensor] = self.consistency(agent_queries, self.features(images, numbers))
        return losses

    @torch.no_grad()
    def similarity(self, images: Tensor, agent_queries: Tensor) -> tuple[list[Tensor], list[tuple[int, int]]]:
        """Return S_j (Eq. 8), `(B, h_j w_j, r)` for each feature, and the sizes (h_j, w_j)."""
        features = self.features(images, range(len(images)))
        return self.consistency.similarity(agent_queries, features), features.sizes

    def features(self, images: Tensor, numbers: Sequence[int]) -> TeacherFeatures:
        """Return the teacher's features of `images` RGB in 0..1, with the noise of these draws."""
        self.teacher.to(images.device)  # nothing to do after the first time
        shape = self.teacher.latent_shape(*images.shape[-2:])
        noise = torch.stack([self._noise(number, shape) for number in numbers])
        features: TeacherFeatures = self.teacher(images.float(), noise)
        return features

    def _noise(self, number: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(mixed_seed(self.seed, NOISE, number)))
