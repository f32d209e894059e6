"""`querydiff evaluate`: score a model on data sets, conditions of them, or a folder of labelled images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from querydiff_core.cli.argument_types import image_size
from querydiff_core.cli.data_arguments import add_data_argument, data_sources, evaluation_progress
from querydiff_core.cli.engine_arguments import add_engine_arguments, engine_options, model_file
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import check_writable

if TYPE_CHECKING:
    from querydiff_core.evaluation.evaluation_source import EvaluationSource
    from querydiff_core.evaluation.protocol import Protocol
    from querydiff_core.evaluation.query_exchange import QueryExchange
    from querydiff_core.evaluation.result import Result
    from querydiff_core.inference.engine import EngineOptions

SUMMARY = "score a model on data sets, by condition"


def main(argv: Sequence[str]) -> int:
    """Score, print the table and write the result, also of what was scored until Ctrl-C or a damaged file."""
    arguments = parser().parse_args(argv)
    # Imported late: `querydiff --help` must stay fast.
    from querydiff_core.evaluation.evaluate_sources import Run
    from querydiff_core.evaluation.provenance import model_facts, versions
    from querydiff_core.evaluation.result import Result
    from querydiff_core.inference.segmenter import Segmenter

    if arguments.output:
        check_writable(arguments.output)
    sources, protocol = _sources(arguments), _protocol(arguments)
    options = _engine(arguments, protocol)
    exchange = _query_exchange(arguments, options)
    segmenter = Segmenter.open(options)
    run = Run(segmenter, protocol, arguments.workers)
    images = sum(len(source.pairs) for source in sources)
    # Before the first image: a run that trains may replace the file meanwhile.
    facts, used = model_facts(options, segmenter), versions(segmenter.engine_name)
    data = [source.to_json() for source in sources]
    try:
        with evaluation_progress(images) as should_continue:
            finished = run(sources, should_continue)
    finally:  # after a damaged file too
        result = Result(facts, data, protocol.to_json(), used, run.domains)
        _report(arguments, result, images)
        for note in run.notes:
            print(f"warning: {note}", file=sys.stderr)
    if not finished:
        raise KeyboardInterrupt
    if exchange is not None:
        _report_queries(arguments, exchange, sources, result)
    return 0


def _query_exchange(arguments: argparse.Namespace, options: EngineOptions) -> QueryExchange | None:
    """Return what measures agent queries, where that was asked for; before anything is scored, as it may refuse."""
    if not arguments.queries:
        return None
    if options.window or arguments.flip or arguments.scales or arguments.test_size:
        raise QueryDiffError(
            "--queries looks at every image once and whole: leave out --preset paper, --window, --flip, --scales and "
            "--test-size."
        )
    from querydiff_core.evaluation.query_exchange import QueryExchange

    return QueryExchange(options, arguments.workers)


def _report_queries(
    arguments: argparse.Namespace, exchange: QueryExchange, sources: list[EvaluationSource], result: Result
) -> None:
    """Measure the agent queries, print them, and add them to the result's domains."""
    from querydiff_core.evaluation.query_exchange import query_table
    from querydiff_core.utils.terminal import console

    reports = {source.domain: exchange(source) for source in sources}
    console().print(query_table(result.model["file"], reports))
    if arguments.output:
        domains = (replace(d, extra=d.extra | {"agent_queries": asdict(reports[d.name])}) for d in result.domains)
        replace(result, domains=tuple(domains)).save(arguments.output)


def _report(arguments: argparse.Namespace, result: Result, images: int) -> None:
    from querydiff_core.evaluation.result_table import print_result

    keep = arguments.output and result.images > 0
    try:
        if keep:
            result.save(arguments.output)
    finally:  # a file that can no longer be written is shown at least
        if result.domains:
            print_result(result)
    if result.images < images:
        kept = f" They are kept in {arguments.output}." if keep else ""
        print(f"Stopped: {result.images} of {images} images were scored.{kept}", file=sys.stderr)


def _sources(arguments: argparse.Namespace) -> list[EvaluationSource]:
    from querydiff_core.evaluation.evaluation_source import folder_source, unique_domains

    found = data_sources(arguments.data)
    if arguments.images:
        name, labels = arguments.images.resolve().name, arguments.labels
        mapping = arguments.mapping or "train_ids"
        found.append(folder_source(name, arguments.images, None if labels is None else str(labels), mapping))
    elif arguments.labels or arguments.mapping:
        raise QueryDiffError("--labels and --mapping belong to --images: name the folder of images.")
    if not found:
        raise QueryDiffError("Nothing to score on: give --data SET=ROOT or --images FOLDER.")
    return unique_domains(found)


def _protocol(arguments: argparse.Namespace) -> Protocol:
    from querydiff_core.evaluation.protocol import Protocol

    protocol = Protocol.paper() if arguments.preset == "paper" else Protocol()
    given = {name: getattr(arguments, name) for name in ("window", "stride", "scales")}
    given["size"] = arguments.test_size
    if arguments.test_size is not None:
        given["sizes"] = {}  # what is given goes before the preset
    if arguments.window is not None and arguments.stride is None:
        protocol = replace(protocol, stride=None)
    return replace(protocol, flip=arguments.flip, **{k: v for k, v in given.items() if v is not None})


def _engine(arguments: argparse.Namespace, protocol: Protocol) -> EngineOptions:
    """Return how the model runs: as asked; a checkpoint under the paper's preset sees the window as it is."""
    options = replace(engine_options(arguments), window=protocol.window, stride=protocol.stride)
    paper = arguments.preset == "paper" and options.file.suffix == ".safetensors" and protocol.window
    return replace(options, size=(paper, paper)) if paper and options.size is None else options


def _factor_or_size(text: str) -> tuple[int, int] | float:
    try:
        factor = float(text)
    except ValueError:
        return image_size(text)
    if not 0.1 <= factor <= 4:
        raise QueryDiffError(f"--test-size must be HxW or a factor of 0.1 to 4, found {text}.")
    return factor


def _factors(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(factor) for factor in text.split(","))
    except ValueError:
        raise QueryDiffError(f"--scales must be factors such as 0.75,1,1.25, found {text!r}.") from None


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff evaluate",
        description="Label every image of data sets and print IoU by class, mIoU, accuracies and calibration, a column "
        "for each domain. Ctrl-C keeps what was measured.",
        epilog="example: querydiff evaluate default --data camvid=CamVid --data acdc=ACDC:val:each --output r.json",
    )
    add = parser.add_argument
    add("model", nargs="?", type=model_file, help="exported engine or checkpoint; default: the shipped one")
    add_data_argument(
        parser,
        "a data set of `querydiff data list`, several times for several; SPLIT: val where there is one; "
        "CONDITION: such as night, `each` for a domain each, all together by default; NAME: of the domain in the "
        "result, for several roots of one set (gate=folder=GATE)",
    )
    add("--images", type=Path, help="folder of images, or of images/ and labels/")
    add("--labels", type=Path, help="folder of label images, paired by name with --images")
    add("--mapping", help="what these label values mean: a name or a YAML file (default: train_ids)")
    add(
        "--preset",
        choices=("whole", "paper"),
        default="whole",
        help="whole: each image in one look; paper: its test sizes, a window of 512 every 341 pixels "
        "(default: %(default)s)",
    )
    add("--test-size", type=_factor_or_size, metavar="HxW", help="resize images first, to a size or by a factor")
    add("--flip", action="store_true", help="look at the mirrored image too")
    add("--scales", type=_factors, metavar="F,F,...", help="look at several scales; needs a window")
    add(
        "--queries",
        action="store_true",
        help="measure the agent queries of a checkpoint too: their variance between images, and what an image loses "
        "with another's (four more looks at each image)",
    )
    add("--workers", type=int, default=2, help="threads that read images ahead (default: %(default)s)")
    add("--output", type=Path, metavar="RESULT.json", help="write the result here, for `querydiff compare`")
    add_engine_arguments(parser, model=False)
    return parser
