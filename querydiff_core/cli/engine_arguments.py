"""The arguments that every command takes which runs a model."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import get_args

from querydiff_core.cli.argument_types import image_size
from querydiff_core.inference.engine import EngineOptions, Provider, default_checkpoint


def add_engine_arguments(parser: argparse.ArgumentParser, *, model: bool = True, size: bool = True) -> None:
    """Declare the fields of `EngineOptions`; `model` and `size` say whether those two are among them."""
    add = parser.add_argument_group("model and how it runs").add_argument
    if model:
        add("--model", type=model_file, metavar="FILE", help="exported engine or checkpoint (default: the shipped one)")
    if size:
        add("--size", type=image_size, metavar="HxW", help="what the network sees (checkpoints; engines have theirs)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--provider", default="auto", choices=get_args(Provider), help="what runs .onnx files (default: %(default)s)")
    add("--threads", type=int, help="CPU threads of the engine (default: all cores)")
    add("--fallback", action="store_true", help="run the checkpoint of a .pt2 or .engine file that does not fit here")
    add("--cuda-graphs", action="store_true", help="replay .pt2 and .engine files on a GPU as CUDA graphs")
    add("--window", type=int, help="side in pixels of a window slid over the image (default: the whole image)")
    add("--stride", type=int, help="of the window in pixels (default: two thirds of it)")


def engine_options(arguments: argparse.Namespace) -> EngineOptions:
    """Return what the arguments say of the model and how it runs.

    Raises:
        QueryDiffError: if one of them is wrong.
    """
    known = {field.name for field in fields(EngineOptions)}
    return EngineOptions(**{name: value for name, value in vars(arguments).items() if name in known})


def model_file(text: str) -> str | None:
    """Return the file that `text` names, None for `default`: the shipped one."""
    return None if text == "default" else text


def checkpoint_file(text: str) -> Path:
    """Return the checkpoint that `text` names; that of the shipped default for `default`."""
    return default_checkpoint() if text == "default" else Path(text)
