"""The groups of what the third version of the scenes added, each of which can be left out to measure what it gives."""

from __future__ import annotations

from collections.abc import Collection

from querydiff_core.errors import QueryDiffError

GROUPS = ("roads", "traffic", "people", "signals", "wires", "fronts", "weather", "camera")
"""roads: motorways, country roads, medians, verges. traffic: queues, lorries, coaches, vans. people: crowds, riders,
rows of cycles. signals: lights on arms, signs of more countries, gantries. wires: masts, catenary, delineators.
fronts: pale, glazed and tall ones. weather: ploughed snow, wet lamps, lit nights, white skies, low sun. camera:
exposure, dashboards, windscreens, faster movement. Without any of them scenes are those of the second version."""


def check_groups(groups: Collection[str]) -> None:
    """Refuse what is no group.

    Raises:
        QueryDiffError: names it and the groups that there are.
    """
    for group in groups:
        if group not in GROUPS:
            raise QueryDiffError(f"No group '{group}' of street scenes: expected one of {', '.join(GROUPS)}.")
