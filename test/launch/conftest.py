"""A launch file run for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launch_process import Launch


@pytest.fixture
def launch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Return a starter of the test module's LAUNCH_FILE, ended with the test."""
    started: list[Launch] = []

    def start(*arguments: str) -> Launch:
        started.append(Launch(request.module.LAUNCH_FILE, tmp_path / "log", *arguments))
        return started[-1]

    yield start
    for each in started:
        each.stop()
