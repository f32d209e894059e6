"""Train students equally, and compare them: the same scenes, crops, steps and seeds, scored on real streets.

Each takes --pixel-steps steps through the pixel head and --steps full steps of 4 crops of 96 x 160 (half of the scale
at which the default is trained). After each of the two it is scored at 128x256. What was trained is kept, and an
interrupted training goes on, so students and seeds can be added by the same command.

Example: python experiments/equal_training.py build/scenes/train --seeds 1 2 3
"""

import argparse
import csv
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands import REPOSITORY, querydiff

# The variant of each student, its backbone where that is another one, and whether ImageNet's weights start it.
STUDENTS = {
    "small": ("small", None, True),
    "lite0": ("small-resnet18d", "tf_efficientnet_lite0", True),
    "lite1": ("small-resnet18d", "tf_efficientnet_lite1", True),
    "lite2": ("small-resnet18d", "tf_efficientnet_lite2", True),
    "resnet18d": ("small-resnet18d", None, False),
}
SIZE = [128, 256]
REAL_SETS: dict[str, dict[str, Any]] = {
    "camvid": {"data_set": "camvid", "root": "camvid", "split": "val"},
    "dusk": {"data_set": "camvid", "root": "camvid", "split": "train", "condition": "dusk"},
    "bdd100k": {"data_set": "folder", "root": "bdd100k"},
    "cityscapes": {"data_set": "folder", "root": "cityscapes"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="+", type=Path, help="folders of street scenes to learn from")
    parser.add_argument(
        "--students",
        nargs="+",
        default=list(STUDENTS),
        choices=list(STUDENTS),
        help="small has the head made for processors; the others are backbones of small-resnet18d",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--pixel-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--real", type=Path, default=REPOSITORY.parent / "shared/data", help="folder of the real sets")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build/equal_training")
    arguments = parser.parse_args()
    real = {name: source for name, source in REAL_SETS.items() if (arguments.real / source["root"]).is_dir()}
    if not real:
        parser.error(f"{arguments.real} has none of the real sets that students are scored on")
    print(f"| student | seeds | phase | {' | '.join(real)} |\n|{'---|' * (3 + len(real))}")
    for student in arguments.students:
        runs = [train(student, seed, real, arguments) for seed in arguments.seeds]
        for phase in runs[0]:
            cells = [mean_and_spread([run[phase][name] for run in runs]) for name in real]
            print(f"| {student} | {len(runs)} | {phase} | {' | '.join(cells)} |", flush=True)


def train(
    student: str, seed: int, real: Mapping[str, Mapping[str, Any]], arguments: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Train both phases, unless that was done; return the mIoU on each real set after each of them, in %."""
    variant, backbone, imagenet = STUDENTS[student]
    run = arguments.output.resolve() / f"{student}-{seed}"
    scores: dict[str, dict[str, float]] = {}
    start = None
    for phase, steps in (("pixel_head", arguments.pixel_steps), ("full", arguments.steps)):
        folder = run / phase
        flags = {
            "seed_everything": seed,
            "model.variant": variant,
            "model.pretrained": str(imagenet and start is None).lower(),
            "model.frozen_batch_norm": str(imagenet).lower(),
            "model.start_from": start or "null",
            "model.average": "null",
            "model.decay_power": 0.9,
            "data.root": arguments.real.resolve(),
            "data.train": [{"root": str(scenes.resolve())} for scenes in arguments.scenes],
            "data.validation": {name: {**source, "size": SIZE} for name, source in real.items()},
            "data.crop": [96, 160],
            "data.scale": [0.25, 0.7],
            "data.batch_size": 4,
            "student.input_size": SIZE,
            "trainer.max_steps": steps,
            "trainer.val_check_interval": steps,
            "trainer.logger": {
                "class_path": "CSVLogger",
                "init_args": {"save_dir": str(folder), "name": "", "version": ""},
            },
            "checkpoint.dirpath": folder,
        }
        if backbone:
            flags["model.student.others"] = {"backbone": backbone, "backbone_options": {}}
        state = folder / "last.ckpt"
        if not (folder / "done").is_file():
            config = REPOSITORY / f"config/train/small_street_scenes_{phase}.yaml"
            resumed = [f"--resume={state}"] if state.is_file() else []
            querydiff("fit", "--config", config, *(f"--{flag}={value}" for flag, value in flags.items()), *resumed)
            (folder / "done").touch()
        with (folder / "metrics.csv").open() as file:
            last = [row for row in csv.DictReader(file) if row.get(f"miou/{next(iter(real))}")][-1]
        scores[phase] = {name: 100 * float(last[f"miou/{name}"]) for name in real}
        start = state
    return scores


def mean_and_spread(values: list[float]) -> str:
    """Return the mean, and the standard deviation where there are several."""
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    main()
