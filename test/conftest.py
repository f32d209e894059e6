"""Make `test/engines.py`, its like and the scripts importable by every test, and Ctrl-C heard by what tests start."""

import os
import signal
import sys
from pathlib import Path

TEST = Path(__file__).parent
sys.path[:0] = [str(folder) for folder in (TEST, TEST.parent / "benchmarks", TEST.parent / "experiments")]

# A shell starts background jobs with SIGINT ignored, which every process that a test starts would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long a command takes here says nothing about it: what tests read of stderr holds no lines of progress.
os.environ["QUERYDIFF_PROGRESS_AFTER"] = "3600"

# Test processes side by side would fight over the cores with a thread for each. Said in the environment, before
# anything imports PyTorch, so that processes which tests start have as many: bits depend on it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
