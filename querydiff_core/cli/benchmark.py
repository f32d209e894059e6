"""`querydiff benchmark`: time engines and checkpoints side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from querydiff_core.cli.argument_types import image_size, image_sizes
from querydiff_core.cli.data_arguments import add_data_argument, data_sources, evaluation_progress
from querydiff_core.cli.engine_arguments import add_engine_arguments, checkpoint_file, engine_options, model_file
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import atomic_file, check_writable

if TYPE_CHECKING:
    import numpy as np

    from querydiff_core.benchmark.engine_process import EngineProcess
    from querydiff_core.benchmark.engine_times import EngineTimes
    from querydiff_core.evaluation.evaluation_source import EvaluationSource

SUMMARY = "time engines side by side: latency, throughput, memory, parity"


def main(argv: Sequence[str]) -> int:
    """Open every engine in a process of its own, call them in turn, and show what was measured, also on Ctrl-C."""
    arguments = parser().parse_args(argv)
    _check(arguments)

    from querydiff_core.benchmark.engine_times import EngineTimes
    from querydiff_core.export.parity import bundled_frames

    frames = bundled_frames(arguments.camera)
    images = frames[[i % len(frames) for i in range(arguments.batch)]]
    sources = data_sources(arguments.data) if arguments.data else []
    with ExitStack() as opened:
        if arguments.sizes:
            folder = Path(opened.enter_context(TemporaryDirectory(prefix="querydiff_")))
            arguments.engines = _export_at_sizes(arguments, folder)
        engines = _open(arguments, opened)
        times = [EngineTimes(engine.name, engine.facts, arguments.batch) for engine in engines]
        try:
            finished = _measure(arguments, engines, times, images)
            if finished:
                _compare(arguments, engines, times, frames)
                finished = _score(arguments, engines, times, sources)
        finally:  # an image that cannot be scored costs no numbers
            if all(row.total for row in times):
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
    if arguments.sizes and (len(arguments.engines) > 1 or not _checkpoint(arguments).endswith(".safetensors")):
        raise QueryDiffError(
            f"--sizes exports one checkpoint (.safetensors) at each size, found {' '.join(arguments.engines)}."
        )
    if arguments.sizes and arguments.size:
        raise QueryDiffError("--size and --sizes both say what the network sees: give one of them.")
    for output in filter(None, (arguments.json, arguments.plot)):
        check_writable(output)


def _checkpoint(arguments: argparse.Namespace) -> str:
    """Return the checkpoint to export at several sizes; that of the shipped engine lies beside it."""
    (named, *_) = arguments.engines
    return str(checkpoint_file(named))


def _export_at_sizes(arguments: argparse.Namespace, folder: Path) -> list[str]:
    from querydiff_core.export.export_engine import export_engine
    from querydiff_core.export.export_options import ExportOptions

    checkpoint, engines = Path(_checkpoint(arguments)), []
    for size in arguments.sizes:
        name = "x".join(map(str, size))
        print(f"exporting {checkpoint} at {name} ...", file=sys.stderr, flush=True)
        engines.append(folder / f"{checkpoint.stem}_{name}.onnx")
        export_engine(checkpoint, engines[-1], ExportOptions(size=size))
    return [str(engine) for engine in engines]


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


def _score(
    arguments: argparse.Namespace,
    engines: list[EngineProcess],
    times: list[EngineTimes],
    sources: list[EvaluationSource],
) -> bool:
    """Add the mIoU of every engine on `sources`; return whether all were scored."""
    if not sources:
        return True
    from querydiff_core.evaluation.evaluate_sources import Run
    from querydiff_core.evaluation.protocol import Protocol
    from querydiff_core.inference.segmenter import Segmenter

    options, finished = engine_options(arguments), True
    with evaluation_progress(len(engines) * sum(len(source.pairs) for source in sources)) as should_continue:
        for engine, row in zip(engines, times, strict=True):
            segmenter = Segmenter.open(replace(options, model=model_file(engine.name)))
            run = Run(segmenter, Protocol())
            finished = finished and run(sources, should_continue)
            segmenter.close()
            if not finished:
                break
            row.miou = {domain.name: domain.miou for domain in run.domains}
    return finished


def _report(arguments: argparse.Namespace, engines: list[EngineProcess], times: list[EngineTimes]) -> None:
    from querydiff_core.benchmark.engine_times import print_times
    from querydiff_core.benchmark.latency_plot import write_latency_plot

    for engine, row in zip(engines, times, strict=True):
        with suppress(QueryDiffError):  # a process that has ended costs no numbers
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
        "size adds; speed is in multiples of --against, or of the first. With --data their mIoU stands beside "
        "it. Ctrl-C shows what was measured so far.",
        epilog="examples: querydiff benchmark small.onnx small.pt2 --against small.safetensors --plot latencies.png; "
        "querydiff benchmark student.safetensors --sizes 256x512,512x1024 --data camvid=CamVid",
    )
    parser.add_argument("engines", nargs="+", metavar="ENGINE", help="engine or checkpoint files; default: the shipped")
    parser.add_argument("--against", metavar="FILE", help="checkpoint or engine that the labels must equal, timed too")
    parser.add_argument(
        "--sizes", type=image_sizes, metavar="HxW,...", help="export one checkpoint as .onnx at each of these sizes"
    )
    add_data_argument(parser, "score on this too, as `querydiff evaluate` does; several times for several")
    parser.add_argument("--camera", type=image_size, default=(1080, 1920), help="HxW of the images (default 1080x1920)")
    parser.add_argument("--batch", type=int, default=1, help="images of a call (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="for each engine (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write everything here, every call's seconds too")
    parser.add_argument("--plot", type=Path, help="draw the latencies' distribution here (.png or .jpg)")
    add_engine_arguments(parser, model=False)
    return parser
