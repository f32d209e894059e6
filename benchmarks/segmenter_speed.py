"""The shipped default as ONNX against its checkpoint run eagerly, at several camera sizes, interleaved in one run.

python benchmarks/segmenter_speed.py [--repeats 30]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from querydiff_core.deployment.segmenter import Segmenter, default_model

SIZES = [(256, 512), (480, 640), (1080, 1920)]


def main() -> None:
    """Print a Markdown table: milliseconds an image (median), frames a second, and the ratio of the two engines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    engines = [Segmenter.load(), Segmenter.load(default_model().with_suffix(".safetensors"), device="cpu")]
    print("| camera | ONNX Runtime, ms | frames/s | PyTorch eager, ms | ratio |\n|---|---|---|---|---|")
    for size in SIZES:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        times: list[list[float]] = [[], []]
        for round_ in range(repeats + 3):
            for engine, taken in zip(engines, times, strict=True):
                start = time.perf_counter()
                engine(image)
                if round_ >= 3:  # the first ones warm up
                    taken.append(time.perf_counter() - start)
        onnx, eager = (1000 * float(np.median(taken)) for taken in times)
        print(
            f"| {size[0]} x {size[1]} | {onnx:.0f} | {1000 / onnx:.1f} | {eager:.0f} | {eager / onnx:.2f} |", flush=True
        )


if __name__ == "__main__":
    main()
