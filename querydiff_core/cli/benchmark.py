"""`querydiff benchmark`: time engines and checkpoints side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from querydiff_core.cli.argument_types import image_size
from querydiff_core.cli.engine_arguments import add_engine_arguments, engine_options, model_file
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import atomic_file, check_writable

if TYPE_CHECKING:
    import numpy as np

    from querydiff_core.benchmark.engine_process import EngineProcess
    from querydiff_core.benchmark.engine_times import EngineTimes

SUMMARY = "time engines side by side: latency, throughput, memory, parity"


def main(argv: Sequence[str]) -> int:
    """Open every engine in a process of its own, call them in turn, and show what was measured, also on Ctrl-C."""
    arguments = parser().parse_args(argv)
    _check(arguments)

    from querydiff_core.benchmark.engine_times import EngineTimes
    from querydiff_core.export.parity import bundled_frames

    frames = bundled_frames(arguments.camera)
    images = frames[[i % len(frames) for i in range(arguments.batch)]]
    with ExitStack() as opened:
        engines = _open(arguments, opened)
        times = [EngineTimes(engine.name, engine.facts, arguments.batch) for engine in engines]
        finished = _measure(arguments, engines, times, images)
        if finished:
            _compare(arguments, engines, times, frames)
        _report(arguments, engines, times)
    if not finished:
        raise KeyboardInterrupt
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if not 1 <= arguments.batch <= 64:
        raise QueryDiffError(f"--batch must be 1 to 64, found {arguments.batch}.")
    if not 0 < arguments.seconds <= 86400:
        raise QueryDiffError(f"--seconds must be more than 0 and at most 86400, found {arguments.seconds:g}.")
    if arguments.plot and arguments.plot.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise QueryDiffError(f"--plot must end in .png or .jpg, found {arguments.plot}.")
    for output in filter(None, (arguments.json, arguments.plot)):
        check_writable(output)


def _open(arguments: argparse.Namespace, opened: ExitStack) -> list[EngineProcess]:
    from querydiff_core.benchmark.engine_process import EngineProcess

    names = list(dict.fromkeys([*arguments.engines, *([arguments.against] if arguments.against else [])]))
    options, engines = engine_options(arguments), []
    for name in names:
        print(f"opening {name} ...", file=sys.stderr, flush=True)
        engines.append(EngineProcess(name, replace(options, model=model_file(name))))
        opened.callback(engines[-1].close)
    return engines


def _measure(
    arguments: argparse.Namespace, engines: list[EngineProcess], times: list[EngineTimes], images: np.ndarray
) -> bool:
    """Return whether the run came to its end."""
    from querydiff_core.benchmark.interleaved_run import interleaved_run
    from querydiff_core.utils.stop_signal import StopSignal
    from querydiff_core.utils.terminal import progress

    seconds = arguments.seconds * len(engines)
    with StopSignal() as stop, progress("measuring", seconds) as report:

        def advance(passed: float) -> bool:
            if len(times[0].total) == 1:
                print(f"measuring for {seconds:g} s; Ctrl-C shows what there is ...", file=sys.stderr, flush=True)
            report(passed)
            return not stop.made

        interleaved_run(engines, times, images, seconds, advance)
        return not stop.made


def _compare(
    arguments: argparse.Namespace, engines: list[EngineProcess], times: list[EngineTimes], frames: np.ndarray
) -> None:
    if not arguments.against:
        return
    labels = [engine.labels(frames) for engine in engines]
    reference = labels[[engine.name for engine in engines].index(arguments.against)]
    for row, found in zip(times, labels, strict=True):
        row.equal = float((found == reference).mean())


def _report(arguments: argparse.Namespace, engines: list[EngineProcess], times: list[EngineTimes]) -> None:
    from querydiff_core.benchmark.engine_times import print_times
    from querydiff_core.benchmark.latency_plot import write_latency_plot

    for engine, row in zip(engines, times, strict=True):
        row.memory = engine.peak_memory()
    camera, calls = "x".join(map(str, arguments.camera)), len(times[0].total)
    title = f"camera {camera}, batch {arguments.batch}, {calls} calls in turn"
    reference = next((row for row in times if row.name == arguments.against), times[0])
    try:
        if arguments.json:
            result = {"camera": list(arguments.camera), "threads": arguments.threads}
            with atomic_file(arguments.json) as temporary:
                temporary.write_text(json.dumps({**result, "engines": [row.as_json() for row in times]}, indent=2))
        if arguments.plot:
            write_latency_plot(arguments.plot, times, title)
    finally:  # a file that can no longer be written costs no numbers
        print_times(times, title, reference)


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        "querydiff benchmark",
        description="Time engines and checkpoints, each in a process of its own, called in turn so that all meet the "
        "same disturbances. `network` is the time with images of the network's own size, `resizing` what the camera's "
        "size adds; speed is in multiples of --against, or of the first. Ctrl-C shows what was measured so far.",
        epilog="example: querydiff benchmark small.onnx small.pt2 --against small.safetensors --plot latencies.png",
    )
    parser.add_argument("engines", nargs="+", metavar="ENGINE", help="engine or checkpoint files; default: the shipped")
    parser.add_argument("--against", metavar="FILE", help="checkpoint or engine that the labels must equal, timed too")
    parser.add_argument("--camera", type=image_size, default=(1080, 1920), help="HxW of the images (default 1080x1920)")
    parser.add_argument("--batch", type=int, default=1, help="images of a call (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="for each engine (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write everything here, every call's seconds too")
    parser.add_argument("--plot", type=Path, help="draw the latencies' distribution here (.png or .jpg)")
    add_engine_arguments(parser, model=False)
    return parser
