"""The conditions that a drive, a data set or a generated scene can be in."""

from __future__ import annotations

from collections.abc import Sequence

from querydiff_core.errors import QueryDiffError

CONDITIONS = ("clear", "fog", "night", "rain", "snow")
"""The conditions of street scenes."""


def check_conditions(conditions: Sequence[str], known: Sequence[str] = CONDITIONS) -> None:
    """Refuse conditions that are not `known`, or none at all.

    Raises:
        QueryDiffError: names the first that is wrong.
    """
    if not conditions:
        raise QueryDiffError(f"No condition given: expected some of {', '.join(known)}.")
    for condition in conditions:
        if condition not in known:
            raise QueryDiffError(f"No condition {condition!r}: expected one of {', '.join(known)}.")
