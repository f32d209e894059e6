"""Words given to launch files: numbers are read, and anything else is refused by the argument's name."""

from __future__ import annotations

import pytest

from querydiff_core.errors import QueryDiffError
from querydiff_ros.common.launch_arguments import number


def test_a_number_is_read_and_anything_else_named() -> None:
    assert number({"fov": " 66.5 "}, "fov") == 66.5
    for wrong in ("", "wide", "66,5"):
        with pytest.raises(QueryDiffError, match=rf"^Launch argument fov must be a number, found '{wrong}'\.$"):
            number({"fov": wrong}, "fov")
