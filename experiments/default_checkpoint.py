"""Make the shipped default: render street scenes, train in three steps, export, score.

Everything lies below --output, and what is there is kept: an interrupted run goes on with the same command. Scenes,
pixel-head pretraining from ImageNet's weights (backbone, pixel decoder and refinement through the per-pixel head) on
scenes without groups, which it learns from faster, full training on those and on scenes with all groups (once for each
seed, from the pretrained weights), full training again (from the mean of the seeds' weights,
which blurs what seeds have come to disagree about; with one seed there is none), calibration, export, and the scores of
each seed and of what ships. No street is learned from but generated ones; real sets, where they are, are scored on.

Example: python experiments/default_checkpoint.py --seeds 1 2 3    # a night on two cores
         python experiments/default_checkpoint.py --start querydiff_core/weights/small.safetensors --pixel-steps 0
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from commands import REPOSITORY, querydiff
from generalisation.variants import CONDITIONS as SCORED
from generalisation.variants import REAL_SETS

from querydiff_core.conditions import CONDITIONS
from querydiff_core.street_scenes.groups import GROUPS
from querydiff_core.street_scenes.scene_folder import SceneFolder
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.terminal import progress

IMAGE_SIZE = (320, 576)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build/default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--scenes",
        type=int,
        default=3000,
        help="without groups, half of them clear and half in all conditions; a third as many with groups are added",
    )
    parser.add_argument("--scored", type=int, default=120, help="further scenes, to score on; half as many validate")
    parser.add_argument(
        "--pixel-steps", type=int, default=1400, help="of the pretraining; 0 leaves it out and begins with --start"
    )
    parser.add_argument("--steps", type=int, default=1600, help="of each full training")
    parser.add_argument("--start", type=Path, help="weights that training begins with (default: ImageNet's)")
    parser.add_argument("--real", type=Path, default=REPOSITORY.parent / "shared/data", help="folder of the real sets")
    parser.add_argument("--accelerator", default="cpu", choices=["cpu", "gpu"])
    arguments = parser.parse_args()
    arguments.output = arguments.output.resolve()
    scenes = arguments.output / "scenes"
    half = arguments.scenes // 2
    render(scenes / "weather", half, 200_000, CONDITIONS, groups=())
    render(scenes / "clear", half, 300_000, CONDITIONS[:1], groups=())
    render(scenes / "groups", max(1, arguments.scenes // 3), 400_000, CONDITIONS)
    render(scenes / "validation", arguments.scored // 2, 9_000_000, CONDITIONS)
    render(scenes / "scored", arguments.scored, 900_000, SCORED)
    start = arguments.start and arguments.start.resolve()
    if arguments.pixel_steps:
        start = fit("pixel_head", 1, arguments.pixel_steps, start, arguments) / "checkpoints/last.ckpt"
    runs = [fit("full", seed, arguments.steps, start, arguments) for seed in arguments.seeds]
    if len(runs) > 1:
        mean = arguments.output / "mean.ckpt"
        average([run / "checkpoints/last.ckpt" for run in runs], mean)
        runs.append(fit("full", max(arguments.seeds) + 1, arguments.steps, mean, arguments))
    shipped = arguments.output / "small.safetensors"
    ship(runs[-1] / "student.safetensors", shipped, scenes / "validation")
    for student in (*(run / "student.safetensors" for run in runs), shipped):
        if not student.with_suffix(".json").is_file():
            score(student, scenes / "scored", arguments.real)


def render(folder: Path, count: int, seed: int, conditions: Sequence[str], groups: Sequence[str] = GROUPS) -> None:
    scenes = SceneFolder(folder, count, IMAGE_SIZE, seed, tuple(conditions), groups=tuple(groups))
    processes = (os.cpu_count() or 1) if count > 100 else 1  # each draws its textures first, which takes a while
    with progress(f"rendering {folder.name}", count) as report:
        for done in scenes.write(processes):
            report(done)


def fit(phase: str, seed: int, steps: int, start: Path | None, arguments: argparse.Namespace) -> Path:
    """Train a phase, or go on with it; return the folder of its run."""
    config = REPOSITORY / f"config/train/small_street_scenes_{phase}.yaml"
    run = arguments.output / "runs" / config.stem / f"version_{seed}"
    shares = {"weather": 1, "clear": 1} | ({"groups": 2} if phase == "full" else {})
    scenes = [f"{{root: scenes/{name}, weight: {weight}}}" for name, weight in shares.items()]
    flags = {
        "seed_everything": seed,
        "model.start_from": start or "null",
        "data.root": arguments.output,
        "data.train": f"[{', '.join(scenes)}]",
        "data.validation": "{scenes: {root: scenes/validation}}",
        "trainer.max_steps": steps,
        "trainer.accelerator": arguments.accelerator,
        "trainer.logger.init_args.save_dir": run.parents[1],
        "trainer.logger.init_args.version": seed,
        "checkpoint.dirpath": run / "checkpoints",
    }
    state = run / "checkpoints/last.ckpt"
    resumed = [f"--resume={state}"] if state.is_file() else []
    if not (run / "done").is_file():
        querydiff("fit", "--config", config, *(f"--{flag}={value}" for flag, value in flags.items()), *resumed)
        (run / "done").touch()
    return run


def average(states: Sequence[Path], output: Path) -> None:
    """Write the mean of the weights in training states, to start from."""
    weights = [torch.load(state, map_location="cpu", weights_only=True)["state_dict"] for state in states]
    mean = {
        name: torch.stack([w[name].double() for w in weights]).mean(0).to(t.dtype) for name, t in weights[0].items()
    }
    with atomic_file(output) as temporary:
        torch.save({"state_dict": mean}, temporary)


def ship(student: Path, shipped: Path, scenes: Path) -> None:
    """Calibrate the student on `scenes` that it did not learn from, and export it, unless that was done."""
    if not is_newer(shipped, student):
        shipped.with_suffix(".json").unlink(missing_ok=True)
        querydiff("calibrate", student, "--data", f"street_scenes={scenes}", "--output", shipped)
    if not is_newer(shipped.with_suffix(".onnx"), shipped):
        querydiff("export", shipped, "--output", shipped.with_suffix(".onnx"))


def is_newer(made: Path, source: Path) -> bool:
    """Return whether `made` is there and was made after its source."""
    return made.is_file() and made.stat().st_mtime_ns >= source.stat().st_mtime_ns


def score(student: Path, scenes: Path, real: Path) -> None:
    sources = [f"street_scenes={scenes}::{condition}" for condition in SCORED]
    for folder, names in REAL_SETS.items():
        if (real / folder).is_dir():
            sources += [name.format(real / folder) for name in names]
        else:
            print(f"no {folder} in {real}: it is not scored on", file=sys.stderr)
    data = [word for source in sources for word in ("--data", source)]
    querydiff("evaluate", student, *data, "--output", student.with_suffix(".json"))


if __name__ == "__main__":
    main()
