"""Say what to lower when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from querydiff_core.errors import QueryDiffError, is_out_of_memory


@contextmanager
def memory_advice(what: str) -> Iterator[None]:
    """Turn running out of memory, the GPU's or the machine's, into a sentence that begins with `what`."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise QueryDiffError(
                f"{what} needs more memory than there is: lower --batch, or --size, or take --width tiny."
            ) from error
        raise
