"""Measure the effect of each version of street scenes: train on its scenes alone, score on real drives.

Versions are commits of this repository: the same scenes are rendered by each, a `small` student learns its pixel path
from ImageNet's weights on them (the configuration small_street_scenes_pixel_head, smaller crops), and is scored on
CamVid. The trainer is that of the working tree, so scenes are all that differs. What was measured is kept, so more
versions, or more seeds, can be added by the same command. `NAME=COMMIT:GROUP` leaves a group of the third version out
of the scenes of a commit, `:all` each of them.

Example: python experiments/street_scenes_ablation.py v2=HEAD:all v3=HEAD no_roads=HEAD:roads --seeds 1 2
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SIZE = (256, 512)
# Run in the tree of a commit; before the renderer had a folder of its own, it was a part of `data`.
RENDER = f"""
import dataclasses
import sys
from pathlib import Path
try:
    from querydiff_core.street_scenes.scene_folder import SceneFolder
except ModuleNotFoundError:
    from querydiff_core.data.street_scenes.scene_folder import SceneFolder
folder = SceneFolder(Path(sys.argv[1]), int(sys.argv[2]), {SIZE})
if sys.argv[3]:
    kept = () if sys.argv[3] == "all" else tuple(group for group in folder.groups if group != sys.argv[3])
    folder = dataclasses.replace(folder, groups=kept)
for _ in folder.write():
    pass
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "versions", nargs="+", metavar="NAME=COMMIT[:GROUP]", help="versions of street scenes, in order"
    )
    parser.add_argument("--camvid", type=Path, default=REPOSITORY.parent / "shared/data/camvid")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build/street_scenes_ablation")
    parser.add_argument("--scenes", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=300, help="of 8 crops of 192 x 256")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    arguments.output, arguments.camvid = arguments.output.resolve(), arguments.camvid.resolve()
    rows = []
    for version in arguments.versions:
        name, _, commit = version.partition("=")
        scenes = render(name, commit or name, arguments)
        rows.append((name, [measure(scenes, seed, arguments) for seed in arguments.seeds]))
    print("| scenes | CamVid val, day | CamVid 0001TP, dusk |\n|---|---|---|")
    for name, scores in rows:
        print(f"| {name} | {' | '.join(mean_and_range([s[drive] for s in scores]) for drive in ('day', 'dusk'))} |")


def render(name: str, commit: str, arguments: argparse.Namespace) -> Path:
    """Render the scenes of a commit, once; return their folder."""
    commit, _, without = commit.partition(":")
    full = subprocess.check_output(["git", "rev-parse", "--short", commit], cwd=REPOSITORY, text=True).strip()
    folder: Path = arguments.output / f"{name}-{full}{without}-{arguments.scenes}"
    source = folder / "source"
    if not source.is_dir():
        source.mkdir(parents=True)
        archive = subprocess.check_output(["git", "archive", full, "querydiff_core"], cwd=REPOSITORY)
        subprocess.run(["tar", "x", "-C", str(source)], input=archive, check=True)
    python("-c", RENDER, folder / "scenes", arguments.scenes, without, tree=source)
    return folder


def measure(folder: Path, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Train on the scenes with a seed, unless that was done, and return the mIoU of each real domain, %."""
    run = folder / f"steps{arguments.steps}_seed{seed}"
    if not (run / "done").is_file():
        camvid = f"data_set: camvid, root: {arguments.camvid}, size: [{SIZE[0]}, {SIZE[1]}]"
        flags = {
            "seed_everything": seed,
            "data.train": f"[{{root: {folder / 'scenes'}}}]",
            "data.validation": f"{{day: {{{camvid}, split: val}}, dusk: {{{camvid}, split: train, condition: dusk}}}}",
            "data.crop": "[192, 256]",
            "data.scale": "[0.5, 1.0]",
            "data.aspect": "[0.75, 1.33]",
            "data.batch_size": 8,
            "trainer.devices": 1,
            "trainer.strategy": "auto",
            "trainer.max_steps": arguments.steps,
            "trainer.val_check_interval": arguments.steps,
            "trainer.logger": f"{{class_path: CSVLogger, init_args: {{save_dir: {run}, name: '', version: ''}}}}",
            "checkpoint.dirpath": run,
        }
        config = REPOSITORY / "config/train/small_street_scenes_pixel_head.yaml"
        python(
            "-m", "querydiff_core", "fit", "--config", config, *(f"--{flag}={value}" for flag, value in flags.items())
        )
        (run / "done").touch()
    with (run / "metrics.csv").open() as file:
        last = [row for row in csv.DictReader(file) if row.get("miou/day")][-1]
    return {name: 100 * float(last[f"miou/{name}"]) for name in ("day", "dusk")}


def python(*arguments: object, tree: Path = REPOSITORY) -> None:
    """Run Python with the modules of a tree."""
    environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONPATH": str(tree)}
    subprocess.run([sys.executable, *map(str, arguments)], cwd=tree, env=environment, check=True, stdout=sys.stderr)


def mean_and_range(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
