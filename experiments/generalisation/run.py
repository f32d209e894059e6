"""Does the diffusion teacher help? A small study of the paper's claim.

Students learn from clear street scenes, and are scored in other weather and on real streets. One command runs the
study, or goes on where it stopped, and writes docs/generalisation.md with its pictures. Steps are recognised by their
settings: after a change, the steps that it concerns are done again.

    OMP_NUM_THREADS=1 python experiments/generalisation/run.py --jobs 2
    python experiments/generalisation/run.py --device cuda --seeds 5 --steps 4000 --start-steps 4000 --scenes 10000
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from plan import Plan
from steps import run_steps
from variants import REAL_SETS, REPOSITORY, Settings

from querydiff_core.cli.argument_types import image_size
from querydiff_core.cli.main import exit_cleanly


def main() -> int:
    """Run what is not done and write the document; return 0, or 130 if Ctrl-C ended it with its state kept."""
    arguments = _parser().parse_args()
    plan = Plan(_settings(arguments))
    if not arguments.document_only and not run_steps(plan.steps, arguments.jobs, arguments.threads):
        print("stopped; unfinished steps kept their state: the same command goes on")
        return 130
    from document import write_document

    write_document(plan, arguments.document, arguments.jobs)
    print(f"{arguments.document} has the tables, the heat map and the panels")
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Settings)}
    for name in (*REAL_SETS, "idd"):
        if not given[name].is_dir():
            print(f"no folder {given[name]}: what needs it is left out")
            given[name] = None
        else:
            given[name] = given[name].absolute()
    for name in ("conditions", "only"):
        given[name] = tuple(word for word in given[name].split(",") if word)
    return Settings(**given | {"folder": given["folder"].resolve()})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, shared = parser.add_argument, REPOSITORY.parent / "shared" / "data"
    add(
        "--folder",
        type=Path,
        default=REPOSITORY / "build" / "generalisation",
        help="where runs and results are written",
    )
    add(
        "--document",
        type=Path,
        default=REPOSITORY / "docs" / "generalisation.md",
        help="page to write",
    )
    for name in REAL_SETS:
        add(f"--{name}", type=Path, default=shared / name, help="folder of real streets to score on")
    add(
        "--real-images",
        dest="idd",
        type=Path,
        default=shared / "idd_lite_images",
        help="unlabelled images that a teacher learns from",
    )
    for name in ("seeds", "steps", "start_steps", "scenes", "targets", "autoencoder_steps", "denoiser_steps", "batch"):
        add(f"--{name.replace('_', '-')}", type=int, default=getattr(Settings, name), help="(default: %(default)s)")
    add("--teacher-crop", type=image_size, default=Settings.teacher_crop, metavar="HxW", help="of a teacher's crops")
    add("--student", default=Settings.student, help="variant of the student (default: %(default)s)")
    add(
        "--random-start", dest="pretrained", action="store_false", help="begin without the backbone's published weights"
    )
    add("--conditions", default=",".join(Settings.conditions), help="of the generated targets (default: %(default)s)")
    add("--image-size", dest="size", type=image_size, default=Settings.size, metavar="HxW", help="of street scenes")
    add("--crop", type=image_size, default=Settings.crop, metavar="HxW", help="size of crops and of the input")
    add("--rate", type=float, help="learning rate (default: that of student.yaml)")
    add(
        "--only",
        default="",
        help="variants with one of these words in their name, comma-separated, and those they are compared with",
    )
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--jobs", type=int, default=1, help="steps that run at the same time (default: %(default)s)")
    add("--threads", type=int, default=1, help="threads of each step (default: %(default)s)")
    add("--document-only", action="store_true", help="run nothing and write what has been scored")
    return parser


if __name__ == "__main__":
    exit_cleanly(main)
