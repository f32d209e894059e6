"""How the experiments run `querydiff`."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def querydiff(*arguments: object) -> None:
    """Run `querydiff` of the working tree with one thread; what it prints goes to stderr."""
    command = [sys.executable, "-m", "querydiff_core", *map(str, arguments)]
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=sys.stderr)
