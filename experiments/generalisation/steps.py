"""Steps of the study: commands in a folder of their own, run once and recognised by their settings."""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from querydiff_core.cli.main import main as querydiff
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.stop_signal import StopSignal

FINISHED, DIVERGED, STOPPED, FAILED = "finished", "diverged", "stopped", "failed"
NOT_FINITE = "is not finite at step"
"""Part of the message of `querydiff fit` when training diverges."""

AUGMENT = "diffusion-augmentation"
"""The one command of a step that is not a subcommand of `querydiff`: `diffusion_augmentation.py`."""

# Imported once, for all processes: it takes seconds.
PRELOADED = ["querydiff_core.training.command_line", "querydiff_core.evaluation.evaluate_sources", "steps"]


@dataclass(frozen=True)
class Step:
    """Commands of `querydiff` that fill `folder`, which is `name` below the folder of the study.

    Attributes:
        name: of the step and of its folder.
        stage: the row of the table of times that it is counted in.
        folder: of the step.
        commands: arguments of `querydiff`, or AUGMENT and its arguments, one list for each command.
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
            str(self.folder.parent): "{study}",
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
        """Return how far the step is; a folder that other settings have written counts for nothing."""
        try:
            raw = json.loads((self.folder / "step.json").read_text())
            known = [field.name for field in fields(Record)]
            record = Record(**{name: raw[name] for name in raw if name in known})  # older ones hold more
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
    """How far a step is. Seconds count all attempts; `message` tells of a failure or of divergence."""

    settings: str
    state: str = ""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    message: str = ""

    @property
    def done(self) -> bool:
        """Return whether nothing is left to do; a run that diverged is done, and reported."""
        return self.state in (FINISHED, DIVERGED)

    def write(self, folder: Path) -> None:
        """Write it into the step's folder."""
        with atomic_file(folder / "step.json") as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")


def run_step(step: Step, threads: int) -> None:
    """Run a step, or go on with it, in a process of its own; exit with 0 if it is done."""
    os.setsid()  # Ctrl-C goes to the parent, which hands it on
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
            record.state, record.message = _run(step)
    sys.exit(0 if record.done else 1)


def _run(step: Step) -> tuple[str, str]:
    """Run the commands; return the state of the step and a message."""
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
        if step.stage == "runs":  # the other runs begin with the state of the common start
            shutil.rmtree(states)
    return FINISHED, ""


def _program(words: Sequence[str]) -> Callable[[], object]:
    if words[0] == AUGMENT:
        from diffusion_augmentation import main as augment

        return lambda: augment(list(words[1:]))
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
    """Refuse a step that another process is running."""
    with (step.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise QueryDiffError(f"Another study is at work in {step.folder}: wait for it, or end it.") from None
        yield


@contextmanager
def _timed(record: Record, folder: Path) -> Iterator[None]:
    """Add the time that the block takes to the record, and write it."""
    wall, cpu = time.monotonic(), _cpu_seconds()
    yield
    record.wall_seconds += time.monotonic() - wall
    record.cpu_seconds += _cpu_seconds() - cpu
    record.write(folder)


def _cpu_seconds() -> float:
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def run_steps(steps: Sequence[Step], jobs: int, threads: int) -> bool:
    """Run what is not done yet, `jobs` at a time; return False if Ctrl-C ended it, with the state of all steps kept.

    Raises:
        QueryDiffError: if a step fails; those that run at the same time are finished first.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    waiting = [step for step in steps if not step.record().done]
    print(f"{len(steps) - len(waiting)} of {len(steps)} steps are done, {len(waiting)} are left", flush=True)
    running: dict[BaseProcess, Step] = {}
    failed: list[Step] = []
    began, finished = time.monotonic(), 0
    with StopSignal() as stop:
        while running or (waiting and not (stop.made or failed)):
            free = 0 if stop.made or failed else jobs - len(running)
            for step in _ready(waiting, free) if free else ():
                waiting.remove(step)
                process = context.Process(target=run_step, args=(step, threads), name=step.name)
                process.start()
                running[process] = step
            if not running:
                break  # the steps that are left need runs that diverged
            wait([process.sentinel for process in running], timeout=1.0)
            if stop.made:
                _interrupt(running)
            for process in [each for each in running if not each.is_alive()]:
                step, finished = running.pop(process), finished + 1
                _report(step, len(waiting) + len(running), (time.monotonic() - began) / finished)
                if not step.record().done and not stop.made:
                    failed.append(step)
    for step in failed:
        raise QueryDiffError(f"Step {step.name} failed: {step.record().message or _end(step)} ({step.log})")
    return not stop.made


def _ready(waiting: Sequence[Step], places: int) -> list[Step]:
    """Return steps that can begin; one that needs a run that diverged never can."""
    ready = [step for step in waiting if all(_usable(need) for need in step.needs)]
    return ready[: max(0, places)]


def _usable(step: Step) -> bool:
    record = step.record()
    return record.done and record.state != DIVERGED


def _interrupt(running: dict[BaseProcess, Step]) -> None:
    """Ask each process once to keep its state and end."""
    for process in running:
        if process.pid is not None and not getattr(process, "asked", False):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)
            process.asked = True  # type: ignore[attr-defined]


def _report(step: Step, left: int, each: float) -> None:
    record = step.record()
    state = record.state or FAILED
    rest = f"{left} left, about {left * each / 60:.0f} min" if left else "none left"
    print(f"{step.name}: {state}, {record.cpu_seconds:.0f} s of CPU; {rest} {record.message}".rstrip(), flush=True)


def _end(step: Step) -> str:
    lines = [line for line in step.last_lines() if line.strip()]
    return lines[-1] if lines else "its process was killed"
