"""QueryDiff: domain-generalised semantic segmentation; trains with a diffusion teacher, drives without it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from querydiff_core.inference.segmenter import Segmentation as Segmentation
    from querydiff_core.inference.segmenter import Segmenter as Segmenter
    from querydiff_core.models.build import build_model as build_model

_HOMES = {
    "Segmenter": "querydiff_core.inference.segmenter",
    "Segmentation": "querydiff_core.inference.segmenter",
    "build_model": "querydiff_core.models.build",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: `build_model` brings PyTorch, the others do not."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
