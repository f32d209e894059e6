"""A drive of a few random frames, as a bag, and the executable that replays it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from peer import PATIENCE, Peer

from querydiff_ros.bags.bag_recorder import DriveRecorder
from querydiff_ros.common.install_paths import executable_path

START, STEP, COUNT, SIZE = 1_700_000_000_000_000_000, 50_000_000, 12, (24, 40)
"""First stamp and interval in nanoseconds, number of frames, their (height, width)."""


def image(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def record(path: Path, storage: str = "mcap", size: tuple[int, int] = SIZE, start: int = START) -> Path:
    with DriveRecorder(path, storage=storage, compressed=False) as recorder:
        for index in range(COUNT):
            pixels = np.resize(image(index), (*size, 3))
            recorder.write(start + index * STEP, pixels, pixels[..., 1] % 19, "clear" if index < 6 else "fog")
    return path


def stamps(messages: Iterable[Any]) -> list[int]:
    return [each.header.stamp.sec * 10**9 + each.header.stamp.nanosec for each in messages]


class Replay:
    """The executable, run while a peer keeps spinning; it waits for subscribers as long as it takes."""

    def __init__(self, peer: Peer, *arguments: object):
        command = [executable_path("replay_drive"), "--wait", str(PATIENCE), *map(str, arguments)]
        self._peer = peer
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr, once the process has ended."""
        self._peer.wait_for(lambda: self.process.poll() is not None, "the end of the replay")
        out, err = self.process.communicate()
        assert "Traceback" not in err
        return self.process.returncode, out, err
