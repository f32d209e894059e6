"""Tab completion in bash and zsh: the answer to what argcomplete's shell functions ask."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from importlib import import_module


def is_asked() -> bool:
    """Return whether the shell runs this process to complete a command line."""
    return "_ARGCOMPLETE" in os.environ


def complete(subcommands: Mapping[str, str]) -> None:
    """Write what the command line may go on with, and end the process; only the subcommand's module is imported.

    Args:
        subcommands: modules by name. One without `parser()` completes by itself, as jsonargparse does when it parses.
    """
    import argcomplete

    line, point, first = os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]), int(os.environ["_ARGCOMPLETE"])
    *_, words, _ = argcomplete.split_line(line, point)
    if len(words) <= first:
        parser = argparse.ArgumentParser("querydiff")
        parser.add_argument("--version", action="store_true")
        parser.add_argument("subcommand", choices=sorted(subcommands))
        argcomplete.autocomplete(parser, always_complete_options=False)
    if words[first] not in subcommands:
        return
    os.environ["_ARGCOMPLETE"] = str(first + 1)  # the words of the subcommand begin one further
    module = import_module(subcommands[words[first]])
    if hasattr(module, "parser"):
        argcomplete.autocomplete(module.parser())
    module.main([])
