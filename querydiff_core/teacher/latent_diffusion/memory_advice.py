"""Say what to lower when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from querydiff_core.errors import QueryDiffError


@contextmanager
def memory_advice(what: str) -> Iterator[None]:
    """Turn running out of memory, the GPU's or the machine's, into a sentence that begins with `what`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error):
            raise QueryDiffError(
                f"{what} needs more memory than there is: lower --batch, or --size, or take --width tiny."
            ) from error
        raise
