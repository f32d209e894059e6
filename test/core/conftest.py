"""What the tests of querydiff_core share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def own_number_of_threads():
    """Give back the number of PyTorch's threads that an engine was told to use: bits depend on it."""
    threads = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    yield
    if threads is not None:
        sys.modules["torch"].set_num_threads(threads)
