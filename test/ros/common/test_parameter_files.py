"""A parameter file for other nodes is named: ROS passes over it without a word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.node import Node

from querydiff_ros.common.parameter_files import warn_of_files_for_others

NAMES = [
    "node",
    "/node",
    "/**",
    "/*",
    "/**/node",
    "/robot/node",
    "robot/node",
    "/robot/**",
    "/*/node",
    "/robot/*",
    "nod",
]
NESTED = "robot:\n  node:\n    ros__parameters: {given: 1}\n"
OTHERS_TOO = "other:\n  ros__parameters: {else: 1}\n/robot/node:\n  ros__parameters: {given: 1}\n"
TEXTS = [*(f"{name}:\n  ros__parameters: {{given: 2001-99-99}}\n" for name in NAMES), NESTED, OTHERS_TOO, ""]


@pytest.mark.parametrize("namespace", ["", "/robot"])
def test_a_warning_comes_exactly_where_ros_finds_nothing_for_the_node(
    ros: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], namespace: str
) -> None:
    file, taken = tmp_path / "mine.yaml", 0
    for text in TEXTS:
        file.write_text(text)
        arguments = ["--ros-args", "--params-file", str(file)]
        declared = {"automatically_declare_parameters_from_overrides": True}
        node = Node("node", namespace=namespace, cli_args=arguments, **declared)  # type: ignore[arg-type]
        capfd.readouterr()
        warn_of_files_for_others(node, arguments)
        said = capfd.readouterr().err
        assert node.has_parameter("given") == (said == ""), f"{text!r}: {said}"
        assert not said or f"{file} changes nothing: it " in said
        taken += said == ""
        node.destroy_node()
    assert 5 <= taken <= len(TEXTS) - 5


def test_the_executable_names_a_file_with_the_wrong_name_of_the_node(
    tmp_path: Path, start_process: Callable[..., Any]
) -> None:
    wrong, right = tmp_path / "wrong.yaml", tmp_path / "right.yaml"
    wrong.write_text("segmentation_node:\n  ros__parameters: {max_age: 1.0}\n")
    right.write_text("segment_node:\n  ros__parameters: {max_rate: 2.0}\n")
    node = start_process("segment_node", "--ros-args", "--params-file", str(wrong), "--params-file", str(right))
    node.wait_for_line(f"{wrong} changes nothing: it is for /segmentation_node, and this node is /segment_node.")
    node.wait_for_line("Unconfigured")
    assert str(right) not in node.output
