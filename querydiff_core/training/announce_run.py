"""Say what a run is, before it starts to count steps."""

from __future__ import annotations

import lightning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from querydiff_core.training.semantic_module import SemanticModule


class AnnounceRun(Callback):
    """Print data, model, teacher, length and folder of the run."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print six lines in the first process."""
        folder = trainer.log_dir or trainer.default_root_dir  # asked of every process: `log_dir` is a broadcast
        if isinstance(pl_module, SemanticModule):
            _print(trainer, pl_module, str(folder))


@rank_zero_only
def _print(trainer: lightning.Trainer, module: SemanticModule, folder: str) -> None:
    data, teacher = module.data, module.identity["teacher"]
    batch = data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
    trained = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    sources = zip(data.train, data.sampler.images, data.sampler.shares, strict=True)
    print(
        f"learns from  {', '.join(f'{s.root} ({images} images, {share:.0%})' for s, images, share in sources)}\n"
        f"scored on    {', '.join(data.validation) or 'nothing'}\n"
        f"student      {module.variant}, {trained / 1e6:.1f} M parameters trained\n"
        f"teacher      {teacher['source'] if teacher else 'none'}\n"
        f"steps        {trainer.global_step} to {trainer.max_steps}, {batch} crops of "
        f"{data.transform.crop[0]} x {data.transform.crop[1]} each, on {trainer.world_size} x "
        f"{module.device.type}\n"
        f"writes to    {folder}",
        flush=True,
    )
