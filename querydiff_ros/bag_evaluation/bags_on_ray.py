"""Evaluate many bags side by side on Ray, on this machine or on a cluster."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from querydiff_core.errors import QueryDiffError, explained, one_line
from querydiff_core.inference.engine import EngineOptions
from querydiff_core.inference.segmenter import Segmenter
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_results import Outcome
from querydiff_ros.bag_evaluation.bag_sources import BagSource
from querydiff_ros.bag_evaluation.evaluate_bag import evaluate_bag

LOCAL = "local"


def evaluate_on_ray(
    sources: Sequence[BagSource], options: BagOptions, address: str = LOCAL
) -> Iterator[tuple[BagSource, Outcome]]:
    """Evaluate the bags in Ray's workers and yield what they gave, in the order of finishing.

    Bags and model are opened by path: on a cluster every machine must see them there, and have this package.

    Args:
        sources: the bags.
        options: how; a worker's engine has one thread unless they say otherwise.
        address: "local" starts Ray on this machine; "auto", "host:port" or "ray://host:port" is a running cluster.

    Raises:
        QueryDiffError: if Ray is not installed, the cluster does not answer, or `options` ask for the real node.
    """
    if options.online is not None:
        raise QueryDiffError(
            "--ray and --online exclude each other: latencies of nodes that share a machine mean nothing."
        )
    if not sources:
        return
    ray = _connect(address)
    try:
        engine = replace(options.engine, threads=options.engine.threads or 1)
        yield from _results(ray, sources, replace(options, engine=engine))
    finally:
        ray.shutdown()


def _connect(address: str) -> Any:
    with explained("--ray needs Ray ({reason}): pip install 'querydiff_ros[ray]'.", ImportError):
        import ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    dashboard = False if address == LOCAL else None
    # From a refused connection to a malformed address: no common class.
    with explained(f"Ray does not answer at {address}: {{reason}}.", Exception):
        ray.init(address=address, include_dashboard=dashboard, log_to_driver=False, logging_level=logging.ERROR)
    return ray


def _results(ray: Any, sources: Sequence[BagSource], options: BagOptions) -> Iterator[tuple[BagSource, Outcome]]:
    gpus = 1 if options.engine.device.startswith("cuda") else 0
    remote = ray.remote(num_cpus=options.engine.threads, num_gpus=gpus, max_retries=1)(_evaluate)
    waiting = {remote.remote(source, options): source for source in sources}
    while waiting:
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        source = waiting.pop(done)
        try:
            yield source, ray.get(done)
        except ray.exceptions.RayError as error:
            yield source, QueryDiffError(f"{source.path}: the Ray worker failed: {one_line(error, only=-1)}.")


def _evaluate(source: BagSource, options: BagOptions) -> Outcome:
    try:
        return evaluate_bag(source, options, segmenter=_segmenter(options.engine))
    except QueryDiffError as error:
        return error


@functools.lru_cache(1)
def _segmenter(options: EngineOptions) -> Segmenter:
    """Open the model once a worker."""
    return Segmenter.open(options)
