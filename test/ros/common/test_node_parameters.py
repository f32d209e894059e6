"""Any frozen dataclass as the parameters of a node."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from querydiff_core.errors import QueryDiffError
from querydiff_ros.common.node_parameters import MOST, ParameterReader, declare_parameters, parameter


@dataclass(frozen=True)
class Settings:
    names: tuple[str, ...] = parameter(("a", "b"), "Some names.", problem=lambda names: None if names else "No name.")
    rate: float = parameter(2.0, "A rate.", between=(0.5, math.inf))
    waiting: int = parameter(3, "How many wait.", between=(1, math.inf))
    colour: str = parameter("red", "A colour.", one_of=("red", "blue"))


@pytest.fixture
def nodes(ros: None) -> Iterator[Any]:
    made = []

    def make(**values: Any) -> Node:
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        made.append(Node(f"node_{len(made)}", parameter_overrides=overrides))
        return made[-1]

    yield make
    for node in made:
        node.destroy_node()


def test_values_are_read_once_and_stay(nodes: Any) -> None:
    node = nodes(rate=4, names=["c"])
    settings = declare_parameters(node, Settings)
    assert settings == Settings(names=("c",), rate=4.0)
    with pytest.raises(FrozenInstanceError):
        settings.rate = 5.0  # type: ignore[misc]
    refusal = node.set_parameters([Parameter("rate", value=5.0)])[0]
    assert not refusal.successful
    assert "read-only" in refusal.reason
    assert node.get_parameter("rate").value == 4.0


def test_descriptors_say_what_is_allowed(nodes: Any) -> None:
    node = nodes()
    declare_parameters(node, Settings)
    described = {name: node.describe_parameter(name) for name in ("names", "rate", "waiting", "colour")}
    assert [each.description for each in described.values()] == [
        "Some names.",
        "A rate.",
        "How many wait.",
        "A colour.",
    ]
    (rate,), (waiting,) = described["rate"].floating_point_range, described["waiting"].integer_range
    assert (rate.from_value, rate.to_value) == (0.5, math.inf)
    assert (waiting.from_value, waiting.to_value) == (1, MOST)
    assert described["colour"].additional_constraints == "one of red, blue"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("names", [], "No name."),
        ("rate", 0.1, "Parameter rate must be at least 0.5, found 0.1."),
        ("rate", math.nan, "Parameter rate must be at least 0.5, found nan."),
        ("waiting", 0, "Parameter waiting must be at least 1, found 0."),
        ("waiting", 1.5, "Parameter waiting must be an integer, found 1.5."),
        ("colour", "green", "Parameter colour must be one of red, blue, found 'green'."),
    ],
)
def test_wrong_values_are_one_sentence_and_can_be_set_right(nodes: Any, name: str, value: Any, sentence: str) -> None:
    with pytest.raises(QueryDiffError) as refusal:
        declare_parameters(nodes(**{name: value}), Settings)
    assert str(refusal.value) == sentence
    reader = ParameterReader(node := nodes(**{name: value}), Settings)
    right = getattr(Settings(), name)
    assert node.set_parameters([Parameter(name, value=list(right) if name == "names" else right)])[0].successful
    assert reader.read() == Settings()
