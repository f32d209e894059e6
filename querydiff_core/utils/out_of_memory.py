"""Tell running out of memory from other failures."""

from __future__ import annotations

SIGNS = ("out of memory", "not enough memory", "allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that the GPU's or the machine's memory ran out."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS)
