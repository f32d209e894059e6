"""Does teaching help? A small ladder of the paper's shape, from clear street scenes to other weather and real streets.

One command runs the whole ladder, or goes on where it stopped, and writes docs/generalisation.md with its pictures.
What is done is known by its settings: changed ones are done again, with all that depends on them.

    OMP_NUM_THREADS=1 python experiments/generalisation/run.py --jobs 2
    python experiments/generalisation/run.py --device cuda --jobs 1 --steps 4000 --start-steps 4000 --scenes 10000
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from plan import REPOSITORY, Plan, Settings
from run_steps import run_steps

from querydiff_core.cli.image_size import image_size
from querydiff_core.cli.main import exit_cleanly


def main() -> int:
    """Run what is not done and write the document; 0 on success, 130 if Ctrl-C ended it with its state kept."""
    arguments = _parser().parse_args()
    plan = Plan(_settings(arguments))
    if not arguments.document_only and not run_steps(plan.steps, arguments.jobs, arguments.threads):
        print("stopped; what was under way kept its state: the same command goes on")
        return 130
    from document import write_document

    write_document(plan, arguments.document, arguments.jobs)
    print(f"{arguments.document} has the table, the heat map and the panels")
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Settings)}
    for name in ("camvid", "idd"):
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
    add("--folder", type=Path, default=REPOSITORY / "build" / "generalisation", help="of all runs and results")
    add("--document", type=Path, default=REPOSITORY / "docs" / "generalisation.md", help="what is written in the end")
    add("--camvid", type=Path, default=shared / "camvid", help="the real domains (default: ../shared/data/camvid)")
    add("--real-images", dest="idd", type=Path, default=shared / "idd_lite_images", help="to train a teacher on")
    for name in ("seeds", "steps", "start_steps", "scenes", "targets", "autoencoder_steps", "denoiser_steps", "batch"):
        add(f"--{name.replace('_', '-')}", type=int, default=getattr(Settings, name), help="(default: %(default)s)")
    add("--teacher-crop", type=int, default=Settings.teacher_crop, help="side of a teacher's crops")
    add("--variant", default=Settings.variant, help="student (default: %(default)s)")
    add("--conditions", default=",".join(Settings.conditions), help="of the generated targets (default: %(default)s)")
    add("--size", type=image_size, default=Settings.size, metavar="HxW", help="of scenes")
    add("--crop", type=image_size, default=Settings.crop, metavar="HxW", help="of crops, and of what the network sees")
    add("--rate", type=float, help="learning rate of the rungs, instead of student.yaml's")
    add("--sweep", type=int, nargs="?", const=1, default=0, help="extra rungs on alpha, features, timesteps: seeds")
    add(
        "--only",
        default="",
        help="rungs with one of these words in their name, comma-separated, plain and agent queries",
    )
    add("--device", default="cpu", choices=("cpu", "cuda"))
    add("--jobs", type=int, default=1, help="steps side by side (default: %(default)s)")
    add("--threads", type=int, default=1, help="of each (default: %(default)s)")
    add("--document-only", action="store_true", help="run nothing, write what there is")
    return parser


if __name__ == "__main__":
    exit_cleanly(main)
