"""Train a student with the segmentation loss and, where there is a teacher, the consistency loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from querydiff_core.data.datamodule import Crop, SegmentationData
from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.sliding_window import SlidingWindow
from querydiff_core.label_space import cityscapes
from querydiff_core.models.build import build_model
from querydiff_core.models.depthwise_fp32 import keep_depthwise_in_fp32
from querydiff_core.models.query_statistics import BetweenImages, perplexity_share
from querydiff_core.models.querydiff import QueryDiff, semantic_probabilities
from querydiff_core.models.segmentation_loss import SegmentationLoss, pixel_loss
from querydiff_core.models.variants import QuerySource
from querydiff_core.teacher.frozen_teacher import TeacherFeatures
from querydiff_core.teacher.teaching_gradient import TeachingGradient
from querydiff_core.training.distillation import Distillation, TeacherOptions
from querydiff_core.training.merged_iou import MergedIoU
from querydiff_core.training.moving_average import MovingAverage
from querydiff_core.training.start_from import start_from_weights
from querydiff_core.training.trained_module import TrainedModule, polynomial_decay
from querydiff_core.utils.seeds import POINTS, STEPS, mixed_seed

Phase = Literal["pixel_head", "full"]
UNDECAYED = frozenset({"q_init", "position_embedding", "level_embedding", "a", "b", "cls_token", "pos_embed"})
"""Names of parameters that are queries, tokens or embeddings and no weights of a layer."""


@dataclass
class StudentOptions:
    """Settings of the student that differ from the variant's; None leaves the variant's.

    `scheme` is how the pretrained backbone is tuned (docs/method.md, section 6). `rein_options` are tokens, rank and
    shared of Rein. `queries` is r, the number of queries. `query_source` is `agent` or `tokens`, or `learned` or `rein`
    as baselines. `refinement` says whether maps read the agent queries. `others` are any other settings of
    `VariantConfig` by name, such as `channels`.
    """

    scheme: Literal["full", "frozen", "rein"] | None = None
    rein_options: dict[str, Any] | None = None
    queries: int | None = None
    query_source: QuerySource | None = None
    refinement: bool | None = None
    others: dict[str, Any] = field(default_factory=dict)

    def overrides(self) -> dict[str, Any]:
        """Return the settings by name, as `build_model` takes them."""
        named = {name: value for name, value in asdict(self).items() if name != "others" and value is not None}
        return {**self.others, **named}


class SemanticModule(TrainedModule):
    """The student, its losses and its optimiser (docs/method.md, sections 5 and 6).

    Args:
        variant: name of the network in `models/variants.py`.
        phase: "pixel_head" is pretraining: backbone, pixel decoder and refinement learn through the auxiliary per-pixel
            head, and a step is several times cheaper on a CPU; "full" trains everything.
        start_from: file whose weights training begins with, `.safetensors` or a training state.
        start_parts: the student's modules to take from it, such as `backbone`; the others start from scratch. None
            takes all.
        pretrained: whether to begin with the backbone's published weights; a path takes them from there.
        learning_rate: rate of everything but the pretrained backbone.
        backbone_learning_rate: rate of the pretrained backbone; None takes the same.
        weight_decay: weight decay of AdamW.
        warm_up: number of steps in which the rates rise linearly.
        decay_power: power of the polynomial by which the rates fall to 0 then; 0 keeps them.
        average: decay of the moving average of the weights, which is then what is validated and saved as the student;
            None takes the last weights.
        decay_matrices_alone: whether weight decay leaves out norms, biases, queries and tokens, as Rein's recipe does.
        points: at which masks are compared in the loss; None is their share of the crop (3,136 for 512 x 512).
        validation_window: side in pixels of windows that validation slides over images, every two thirds of it (512
            gives the paper's 341); None shows images whole.
        auxiliary_weight: weight of the per-pixel loss in phase "full".
        teacher: the diffusion model that teaches; None trains with L_seg alone.
        alpha: weight of L_diff in L_total (Eq. 14).
        supervision_weight: weight of L_sup in L_diff (Eq. 12); 0 switches it off.
        distribution_weight: weight of L_dist in L_diff (Eq. 12); 0 switches it off.
        gradient_share: what alpha L_diff's gradient at the agent queries should be of L_seg's: alpha then follows what
            is measured. None keeps alpha.
        instruments_every: steps between measurements of what agent queries hold and what teaches them; 0 for none.
        gradient_checkpointing: whether to compute the backbone's activations again in the backward pass, which takes
            less memory and more time.
        frozen_batch_norm: whether to keep the backbone's BatchNorm statistics, as small batches give poor ones.
        student: settings that differ from the variant's, such as `scheme` or `queries`.
        seed: seed of noise and points.
    """

    advice = (
        "Resume in fp32 (--trainer.precision 32-true), or begin from kept weights with a lower rate "
        "(--model.start_from)."
    )
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        variant: str = "small",
        phase: Phase = "full",
        start_from: str | None = None,
        start_parts: list[str] | None = None,
        pretrained: bool | str = False,
        learning_rate: float = 1e-4,
        backbone_learning_rate: float | None = 1e-5,
        weight_decay: float = 0.05,
        warm_up: int = 100,
        decay_power: float = 0.9,
        average: float | None = None,
        decay_matrices_alone: bool = False,
        points: int | None = None,
        validation_window: int | None = None,
        auxiliary_weight: float = 0.5,
        teacher: TeacherOptions | None = None,
        alpha: float = 1.0,
        supervision_weight: float = 1.0,
        distribution_weight: float = 1.0,
        gradient_share: float | None = None,
        instruments_every: int = 100,
        gradient_checkpointing: bool = False,
        frozen_batch_norm: bool = False,
        student: StudentOptions | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.overrides = (student or StudentOptions()).overrides()
        self.rates = (learning_rate, learning_rate if backbone_learning_rate is None else backbone_learning_rate)
        _check(phase, teacher, supervision_weight, distribution_weight, (*self.rates, decay_power), self.overrides)
        if gradient_share is not None and (teacher is None or instruments_every < 1):
            raise QueryDiffError(
                "gradient_share sets alpha where the teacher's gradient is measured: it needs a teacher, and "
                f"instruments_every of 1 or more, found {instruments_every}."
            )
        self.identity: dict[str, Any] = {
            "variant": variant,
            "phase": phase,
            "learning_rate": learning_rate,
            "backbone_learning_rate": backbone_learning_rate,
            "weight_decay": weight_decay,
            "warm_up": warm_up,
            "decay_power": decay_power,
            "average": average,
            "decay_matrices_alone": decay_matrices_alone,
            "points": points,
            "auxiliary_weight": auxiliary_weight,
            "teacher": None if teacher is None else teacher.taught(),
            "alpha": alpha,
            "supervision_weight": supervision_weight,
            "distribution_weight": distribution_weight,
            "gradient_share": gradient_share,
            "instruments_every": None if gradient_share is None else instruments_every,  # then alpha follows
            "frozen_batch_norm": frozen_batch_norm,
            "student": self.overrides,
            "seed": seed,
        }
        self.model = build_model(variant, pretrained=pretrained, **self.overrides)
        if start_from is not None:
            new = start_from_weights(self.model, start_from, start_parts)
            print(f"begins with {start_from}; from scratch: {', '.join(new) or 'nothing'}", flush=True)
        if gradient_checkpointing:
            self.model.backbone.checkpoint_gradients()
        self.averaged = None if average is None else MovingAverage(self.model, average)
        self.loss = SegmentationLoss(len(cityscapes()), auxiliary_weight=auxiliary_weight, points=points)
        self.decay_matrices_alone = decay_matrices_alone
        self.window = SlidingWindow.of(validation_window, None)
        self.distillation = None
        if teacher is not None:
            self.advice = teacher.advice() + self.advice
            channels = self.model.config["channels"]
            self.distillation = Distillation(teacher, channels, supervision_weight, distribution_weight, seed)
        self.teaching = TeachingGradient(alpha, gradient_share)
        self.variant, self.phase, self.seed, self.instruments_every = variant, phase, seed, instruments_every
        self.schedule = (warm_up, decay_power)
        self.weight_decay, self.frozen_batch_norm = weight_decay, frozen_batch_norm
        self.register_buffer("mean", 255 * torch.tensor(self.model.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(self.model.std).view(1, 3, 1, 1), persistent=False)
        self._leave_out_what_does_not_run()
        self.train()

    @property
    def data(self) -> SegmentationData:
        """The data module of the run."""
        data: SegmentationData = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def setup(self, stage: str) -> None:
        """Refuse a teacher that fits no crops or fails its gate, and prepare the student for the device."""
        if isinstance(self.trainer.strategy, FSDPStrategy):
            if self.teaching.share is not None:
                raise QueryDiffError("gradient_share needs whole gradients, which FSDP has in no process: set alpha.")
            if self.averaged is not None:
                raise QueryDiffError("average needs whole weights, which FSDP has in no process: leave it out.")
        if self.distillation is not None:
            crop = self.data.transform.crop
            self.distillation.check(crop)
            if not self.trainer.ckpt_path:
                self.distillation.pass_gate(self.model.backbone, self.data.training_pairs[0], crop, self.trainer)
        if self.trainer.strategy.root_device.type == "cpu":  # the module itself is moved there after this
            keep_depthwise_in_fp32(self)

    def train(self, mode: bool = True) -> SemanticModule:
        """Switch to training; BatchNorm of the backbone stays as it is where that was asked for."""
        super().train(mode)
        if mode and self.frozen_batch_norm:
            for module in self.model.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def on_train_batch_start(self, batch: Crop, batch_idx: int) -> None:
        """Seed everything random in a step by the step, so that a resumed run equals an uninterrupted one."""
        torch.manual_seed(mixed_seed(self.seed, STEPS, int(batch.number[0])))

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Take a step, and let the moving average follow before any callback saves it."""
        super().optimizer_step(*arguments, **options)
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def training_step(self, batch: Crop, _: int) -> Tensor:
        """Return L_total of images uint8 (B, 3, h, w) against labels int64 (B, h, w) (Eq. 14)."""
        self._numbers = batch.number
        losses = self._losses(batch)
        for name, value in self._measured.items():
            self.log(name, value)
        return self.log_losses(losses, shown=("loss", "sup", "dist"))

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int, dataloader_idx: int = 0) -> None:
        """Add one whole image to the confusion matrix of its data set."""
        images, labels = batch
        scores = self.scores(images) if self.window is None else windowed_scores(self.scores, images, self.window)
        scores = F.interpolate(scores.float(), labels.shape[-2:], mode="bilinear")
        self._scores[dataloader_idx].update(scores.argmax(1), labels)

    def scores(self, images: Tensor) -> Tensor:
        """Return class scores `(B, classes, H/4, W/4)` of images uint8 `(B, 3, H, W)`."""
        if self.phase == "pixel_head":
            return self.student.pixel_path(self.normalise(images))
        return semantic_probabilities(self.student(self.normalise(images)))

    @property
    def student(self) -> QueryDiff:
        """What is validated and saved: the model that is trained, or its moving average."""
        return self.model if self.averaged is None else self.averaged.module

    def on_validation_epoch_start(self) -> None:
        """Start a score of each validation set, by the classes that it can tell apart."""
        self._scores = [MergedIoU(mapping).to(self.device) for mapping in self.data.validation_mappings.values()]

    def on_validation_epoch_end(self) -> None:
        """Log the mIoU of each validation set over the classes that it has, and their mean."""
        ious = [score.compute() for score in self._scores]
        for name, iou in zip(self.data.validation, ious, strict=True):
            self.log(f"miou/{name}", iou, prog_bar=True)
        if len(ious) > 1:
            self.log("miou/mean", torch.stack(ious).nanmean())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with the pretrained backbone in a group of its own, and the polynomial schedule."""
        pretrained = {id(p) for p in self.model.backbone.pretrained_parameters()}
        trained = [(p, self._decays(name, p)) for name, p in self.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for p, decays in trained if (id(p) in pretrained, decays) == (inside, decayed)], "lr": rate}
            | ({} if decayed else {"weight_decay": 0.0})
            for inside, rate in ((False, self.rates[0]), (True, self.rates[1]))
            for decayed in (True, False)
        ]
        optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=self.weight_decay)
        scheduler = polynomial_decay(optimizer, self.trainer.max_steps, *self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether weight decay acts on a parameter: on all, or on matrices and kernels that are no query."""
        return not self.decay_matrices_alone or (parameter.dim() > 1 and not UNDECAYED & set(name.split(".")))

    def announcement(self) -> dict[str, str]:
        """Describe data, student, teacher and length of the run."""
        trainer, data, teacher = self.trainer, self.data, self.identity["teacher"]
        sources = zip(data.train, data.sampler.images, data.sampler.shares, strict=True)
        trained = sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)
        height, width = data.transform.crop
        return {
            "learns from": ", ".join(f"{s.root} ({images} images, {share:.0%})" for s, images, share in sources),
            "scored on": ", ".join(data.validation) or "nothing",
            "student": f"{self.variant}, {trained / 1e6:.1f} M parameters trained",
            "teacher": teacher["source"] if teacher else "none",
            "steps": f"{trainer.global_step} to {trainer.max_steps}, {self._crops_in_a_step()} crops of "
            f"{height} x {width} each, on {trainer.world_size} x {self.device.type}",
        }

    def experiment(self) -> dict[str, dict[str, Any]]:
        """Return the settings of model, data and run."""
        run = {"crops a step": self._crops_in_a_step()}
        return {"model": self.identity, "data": self.data.identity, "run": run}

    def batch_files(self) -> str:
        """Return the image files of the last batch."""
        return ", ".join(str(file) for file in self.data.files(self._numbers.tolist()))

    def _crops_in_a_step(self) -> int:
        return self.data.batch_size * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def _losses(self, batch: Crop) -> dict[str, Tensor]:
        images = self.normalise(batch.image)
        self._measured: dict[str, Tensor | float] = {}
        if self.phase == "pixel_head":
            return {"loss": pixel_loss(self.model.pixel_path(images), batch.labels)}
        output = self.model(images)
        together = len(batch.number) * self.trainer.world_size
        step = int(batch.number[0]) // together  # the same in all processes
        measured = self.instruments_every > 0 and step % self.instruments_every == 0 and torch.is_grad_enabled()
        if measured and len(images) > 1:
            between = BetweenImages()
            between.update(output.agent_queries)
            self._measured["queries/variance_between_images"] = between.share()
        losses: dict[str, Tensor] = self.loss(output, batch.labels, mixed_seed(self.seed, POINTS, step))
        if self.distillation is None:
            return losses
        features = self.distillation.features(batch.image / 255, batch.number.tolist())
        diffusion = self.distillation.consistency(output.agent_queries, features)
        if measured:
            self._measure_teaching(losses["loss"], diffusion["loss"], output.agent_queries, features)
        total = losses["loss"] + self.teaching.alpha * diffusion["loss"]
        return losses | {"loss": total, "sup": diffusion["sup"], "dist": diffusion["dist"]}

    def _measure_teaching(self, l_seg: Tensor, l_diff: Tensor, queries: Tensor, features: TeacherFeatures) -> None:
        """Measure alpha, its gradient's shares, and which share of the queries a cell attends to (Eq. 8)."""
        assert self.distillation is not None
        if not isinstance(self.trainer.strategy, FSDPStrategy):  # no process has all of a gradient there
            trained = [parameter for parameter in self.model.backbone.parameters() if parameter.requires_grad]
            shares = self.teaching.measure(l_seg, l_diff, queries, trained)
            self._measured |= {f"teaching/{name}": share.float() for name, share in shares.items()}
        with torch.no_grad():
            for j, similarity in enumerate(self.distillation.consistency.similarity(queries, features)):
                self._measured[f"teaching/queries_of_a_cell_{j}"] = perplexity_share(similarity)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images of 0..255 as the backbone expects them."""
        normalised: Tensor = (images.float() - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)

    def _leave_out_what_does_not_run(self) -> None:
        """Freeze what this phase does not run: processes that train together wait for every trained parameter."""
        if self.phase == "pixel_head":
            read = self.model.pixel_decoder.refinements_of_mask_feature
            unread = [self.model.mask_decoder, *self.model.refinements[read:]]
            if not any(True for _ in self.model.refinements.parameters()):
                unread.append(self.model.agent_queries)  # which refinements alone read in this phase
            for module in unread:
                module.requires_grad_(False)


def windowed_scores(scores: Callable[[Tensor], Tensor], images: Tensor, window: SlidingWindow) -> Tensor:
    """Return the mean of `scores` over windows of `images (B, 3, H, W)`, at the size of the images.

    Images smaller than the window are enlarged to it, as in the paper's test.
    """
    height, width = (max(side, least) for side, least in zip(images.shape[-2:], window.window, strict=True))
    images = F.interpolate(images.float(), (height, width), mode="bilinear")
    places = list(window.places(height, width))
    rows, columns = window.window
    total, count = images.new_zeros(len(images), len(cityscapes()), height, width), images.new_zeros(height, width)
    for top, left in places:
        seen = scores(images[..., top : top + rows, left : left + columns]).float()
        total[..., top : top + rows, left : left + columns] += F.interpolate(seen, window.window, mode="bilinear")
        count[top : top + rows, left : left + columns] += 1
    return total / count


def _check(
    phase: Phase,
    teacher: TeacherOptions | None,
    supervision_weight: float,
    distribution_weight: float,
    rates: tuple[float, float, float],
    student: Mapping[str, Any],
) -> None:
    """Refuse settings that contradict each other, in one sentence."""
    if min(rates) < 0:
        raise QueryDiffError(f"Learning rates and decay_power must be 0 or more, found {min(rates)}.")
    if phase == "pixel_head" and teacher is not None:
        raise QueryDiffError("The teacher needs phase `full`: phase `pixel_head` trains the per-pixel head alone.")
    if phase == "pixel_head" and not student.get("auxiliary_head", True):
        raise QueryDiffError("Phase `pixel_head` trains the per-pixel head: leave auxiliary_head on.")
    if teacher is not None and supervision_weight == distribution_weight == 0:
        raise QueryDiffError("Both weights of the teacher's loss are 0: give one of them, or no teacher.")
