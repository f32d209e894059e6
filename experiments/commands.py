"""How the experiments run `querydiff`."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def querydiff(*arguments: object) -> None:
    """Run `querydiff` of the working tree with one thread; what it prints goes to stderr.

    Where it fails, or Ctrl-C ends it, it has said why and kept its state: the experiment ends with its exit code.
    """
    command = [sys.executable, "-m", "querydiff_core", *map(str, arguments)]
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=sys.stderr)
    try:
        code = process.wait()
    except KeyboardInterrupt:  # the terminal sends it to both
        code = process.wait()
    if code:
        sys.exit(code)
