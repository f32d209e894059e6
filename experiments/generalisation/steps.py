"""One step of the ladder: a few commands in a folder of their own, done once and known by their settings."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from querydiff_core.cli.main import main as querydiff
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import atomic_file

FINISHED, DIVERGED, STOPPED, FAILED = "finished", "diverged", "stopped", "failed"
NOT_FINITE = "is not finite at step"
"""What `querydiff fit` says where training diverges."""


@dataclass(frozen=True)
class Step:
    """Commands of `querydiff` that fill `folder`, which is `name` below the ladder's.

    Attributes:
        name: of the step and of its folder.
        stage: what the time is counted under.
        folder: of the step.
        commands: arguments of `querydiff`, or of `give` (image-to-image), one list a command.
        needs: steps that must be done before.
        files: configuration files whose text belongs to the settings.
    """

    name: str
    stage: str
    folder: Path
    commands: tuple[tuple[str, ...], ...]
    needs: tuple[Step, ...] = ()
    files: tuple[Path, ...] = ()

    @cached_property
    def settings(self) -> str:
        """Return a digest of the commands, the configuration files and the settings of what is needed."""
        repository = Path(__file__).resolve().parents[2]
        roots = {
            str(self.folder.parent): "{ladder}",
            str(repository): "{repository}",
            str(repository.parent): "{beside}",
        }
        words = json.dumps(self.commands)
        for path, short in roots.items():
            words = words.replace(path, short)
        parts = [words, *(file.read_text() for file in self.files), *(step.settings for step in self.needs)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def log(self) -> Path:
        """Return the file that its commands print to."""
        return self.folder / "log.txt"

    def record(self) -> Record:
        """Return how far the step is, by its settings: another step's folder counts for nothing."""
        try:
            record = Record(**json.loads((self.folder / "step.json").read_text()))
        except (OSError, ValueError, TypeError):
            return Record(self.settings)
        return record if record.settings == self.settings else Record(self.settings)

    @property
    def blocked(self) -> bool:
        """Return whether it can never begin, since it needs a run that diverged."""
        return any(need.record().state == DIVERGED or need.blocked for need in self.needs)

    def last_lines(self, count: int = 30) -> list[str]:
        """Return the end of what its commands printed."""
        return self.log.read_text(errors="replace").splitlines()[-count:] if self.log.exists() else []


@dataclass
class Record:
    """How far a step is. `cpu_seconds` and `wall_seconds` count all attempts; `says`: of a failure or of divergence."""

    settings: str
    state: str = ""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    says: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Return whether nothing is left to do; a run that diverged is done, and reported."""
        return self.state in (FINISHED, DIVERGED)

    def write(self, folder: Path) -> None:
        """Write it into the step's folder."""
        with atomic_file(folder / "step.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")


def run_step(step: Step, threads: int) -> None:
    """Do, or go on with, a step in a process of its own; exit with 0 where it is done."""
    os.setsid()  # Ctrl-C is the ladder's, which hands it on
    os.environ["OMP_NUM_THREADS"] = str(threads)
    record = step.record()
    if not record.state:
        shutil.rmtree(step.folder, ignore_errors=True)
    step.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(step.folder)
    with _alone(step), step.log.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        record.state = STOPPED  # what stays if the process is killed
        record.write(step.folder)
        import torch

        torch.set_num_threads(threads)
        with _timed(record, step.folder):
            record.state, record.says = _run(step)
    sys.exit(0 if record.done else 1)


def _run(step: Step) -> tuple[str, str]:
    """Return the state that the commands leave, and what they say about it."""
    for command in step.commands:
        words = [*command, *_resume(step, command)]
        print("$ querydiff", *words, flush=True)
        code = _exit_code(_program(words))
        sys.stdout.flush()
        if code == 130:
            return STOPPED, ""
        if code:
            lines = step.last_lines()
            broken = next((line for line in reversed(lines) if NOT_FINITE in line), "")
            last = next((line for line in reversed(lines) if line.strip()), f"exit code {code}")
            return (DIVERGED, broken) if broken else (FAILED, last)
    for states in step.folder.glob("runs/*/*/checkpoints"):
        if step.stage == "runs":  # the start's is what the others begin with
            shutil.rmtree(states)
    return FINISHED, ""


def _program(words: Sequence[str]) -> Callable[[], object]:
    if words[0] == "give":
        from diffusion_augmentation import main as give

        return lambda: give(list(words[1:]))
    return lambda: querydiff(list(words))


def _resume(step: Step, command: Sequence[str]) -> list[str]:
    """Return the flags by which an unfinished run goes on."""
    states = step.folder.glob("runs/*/*/checkpoints/last*.ckpt")
    return ["--resume", "last"] if command[0] == "fit" and any(states) else []


def _exit_code(program: Callable[[], object]) -> int:
    try:
        program()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    return 0


@contextmanager
def _alone(step: Step) -> Iterator[None]:
    """Refuse a step that another ladder is at."""
    with (step.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise QueryDiffError(f"Another ladder is at work in {step.folder}: wait for it, or end it.") from None
        yield


@contextmanager
def _timed(record: Record, folder: Path) -> Iterator[None]:
    """Add what the block took to the record, and write it."""
    wall, cpu = time.monotonic(), _cpu_seconds()
    yield
    record.wall_seconds += time.monotonic() - wall
    record.cpu_seconds += _cpu_seconds() - cpu
    record.write(folder)


def _cpu_seconds() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
