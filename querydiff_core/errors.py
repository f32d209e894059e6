"""The one exception that users see, and how to recognise running out of memory."""

from __future__ import annotations

OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory")


class QueryDiffError(Exception):
    """A failure that the user can act on: one sentence naming the thing, what was expected, what was found, what to do.

    Commands print it on one line and exit with 1; the node logs it and stays alive.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that the GPU's or the machine's memory ran out."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY)
