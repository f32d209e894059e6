"""`querydiff benchmark`: time engines and checkpoints."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from querydiff_core.cli.image_size import image_size

SUMMARY = "time engines side by side: latency, throughput, memory, agreement"


def main(argv: Sequence[str]) -> int:
    """Call every engine in turn and print the median latency of each."""
    arguments = _parser().parse_args(argv)

    import numpy as np  # noqa: PLC0415

    from querydiff_core.deployment.segmenter import Segmenter  # noqa: PLC0415

    image = np.random.default_rng(0).integers(0, 256, (*arguments.camera, 3), np.uint8)
    segmenters = {engine: Segmenter.load(engine) for engine in arguments.engines}
    latencies: dict[Path, list[float]] = {engine: [] for engine in arguments.engines}
    for segmenter in segmenters.values():
        segmenter(image)
    for _ in range(10):
        for engine, segmenter in segmenters.items():
            start = time.perf_counter()
            segmenter(image)
            latencies[engine].append(time.perf_counter() - start)
    for engine, taken in latencies.items():
        print(f"{engine}: {1000 * np.median(taken):.1f} ms")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("querydiff benchmark", description="Time engines in turn, in one run.")
    parser.add_argument("engines", nargs="+", type=Path, metavar="ENGINE", help="exported engines and checkpoints")
    parser.add_argument("--camera", type=image_size, default=(1080, 1920), help="HxW of the images")
    return parser
