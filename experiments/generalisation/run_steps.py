"""Do the steps of a ladder, some side by side, each as soon as what it needs is done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from steps import DIVERGED, FAILED, Step, run_step

from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.stop_signal import StopSignal

# Imported once, for all processes: it takes seconds.
PRELOADED = ["querydiff_core.training.command_line", "querydiff_core.evaluation.evaluate_sources", "steps"]


def run_steps(steps: Sequence[Step], jobs: int, threads: int) -> bool:
    """Do what is not done yet, `jobs` at a time; False if Ctrl-C ended it, after what was under way kept its state.

    Raises:
        QueryDiffError: if a step fails; those beside it come to their end first.
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
                break  # what is left needs runs that diverged
            wait([process.sentinel for process in running], timeout=1.0)
            if stop.made:
                _interrupt(running)
            for process in [each for each in running if not each.is_alive()]:
                step, finished = running.pop(process), finished + 1
                _report(step, len(waiting) + len(running), (time.monotonic() - began) / finished)
                if not step.record().done and not stop.made:
                    failed.append(step)
    for step in failed:
        raise QueryDiffError(f"Step {step.name} of the ladder failed: {step.record().says or _end(step)} ({step.log})")
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
    print(f"{step.name}: {state}, {record.cpu_seconds:.0f} s of CPU; {rest} {record.says}".rstrip(), flush=True)


def _end(step: Step) -> str:
    lines = [line for line in step.last_lines() if line.strip()]
    return lines[-1] if lines else "its process was killed"
