"""The one exception that users see, and how the errors of libraries become one line of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

LONGEST = 500
"""Characters of a library's own words that are passed on."""

MOST_LISTED = 5
"""Things that a sentence names one by one."""

OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory")


class QueryDiffError(Exception):
    """A failure that the user can act on: one sentence naming the thing, what was expected, what was found, what to do.

    Commands print it on one line and exit with 1; the node logs it and stays alive.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that the GPU's or the machine's memory ran out."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY)


def one_line(error: BaseException, only: int | None = None) -> str:
    """Return what `error` says as one line without a full stop, to be put into a sentence.

    Args:
        error: of the operating system's errors the reason is returned, and the class of one that says nothing.
        only: the line that is wanted, such as -1 for the last; None joins all.
    """
    lines = _lines(getattr(error, "strerror", None) or error) or [type(error).__name__]
    words = " ".join(lines) if only is None else lines[min(only, len(lines) - 1)]
    return words[:LONGEST].rstrip(".")


def described(error: BaseException) -> str:
    """Return what a user is told of any error, on one line: our own sentence, or the class and words of another."""
    if isinstance(error, QueryDiffError):
        return " ".join(_lines(error))
    return f"{type(error).__name__}: {one_line(error)}"


def listed(things: Collection[str]) -> str:
    """Return the first of these things, and how many more there are, to be put into a sentence."""
    more = len(things) - MOST_LISTED
    return ", ".join(list(things)[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


@contextmanager
def explained(sentence: str, *errors: type[BaseException], only: int | None = None) -> Iterator[None]:
    """Raise as `QueryDiffError` with this sentence what the block raises of the classes `errors`.

    `{reason}` in the sentence stands for `one_line` of the error; what is a `QueryDiffError` already stays as it is.
    """
    try:
        yield
    except QueryDiffError:
        raise
    except errors as error:
        raise QueryDiffError(sentence.replace("{reason}", one_line(error, only))) from error


def _lines(words: object) -> list[str]:
    return [line.strip() for line in str(words).splitlines() if line.strip()]
