"""The parameter files on a node's command line: one that is meant for other nodes changes nothing, without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from rclpy.node import Node

_PARAMETERS = "ros__parameters"


def warn_of_files_for_others(node: Node, arguments: Sequence[str]) -> None:
    """Log each parameter file among the command line's `arguments` that holds nothing for `node`."""
    own = node.get_fully_qualified_name()
    for flag, file in pairwise(arguments):
        if flag != "--params-file" or not Path(file).is_file():  # a pipe gives what it holds once, and ROS has had it
            continue
        try:
            names = list(_node_names(yaml.load(Path(file).read_bytes(), yaml.BaseLoader)))  # noqa: S506 - texts alone
        except (OSError, yaml.YAMLError):  # ROS could read it
            continue
        if not any(_matches(name, own) for name in names):
            meant = f"it is for {', '.join(names)}" if names else "it names no node"
            node.get_logger().warning(f"{file} changes nothing: {meant}, and this node is {own}.")


def _node_names(tree: Any, above: str = "") -> Iterator[str]:
    """Yield the full names in a file that ROS has read already: names may be nested in their namespaces."""
    if not isinstance(tree, Mapping):
        return
    for name, inside in tree.items():
        if name == _PARAMETERS:
            yield above
        else:
            yield from _node_names(inside, f"{above}/{str(name).strip('/')}")


def _matches(name: str, own: str) -> bool:
    """Return whether `name` means the node `own`: in it, * stands for one word and ** for any number of them."""
    pattern = re.escape(name).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"/\w+")
    return re.fullmatch(pattern, own) is not None
