"""What is needed to measure again: the model file's facts and the versions that ran it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from querydiff_core.inference.segmenter import Segmenter, default_model
from querydiff_core.utils.file_hash import file_hash

LIBRARIES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "torch": ("torch",),
    "inductor": ("torch",),
    "tensorrt": ("torch", "tensorrt"),
}


def model_facts(path: str | Path | None, segmenter: Segmenter, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Return the facts of the model that `segmenter` was loaded from.

    Args:
        path: the file; None is the shipped default.
        segmenter: what was loaded.
        size: (height, width) that was asked for when it was loaded, None for the file's own.
    """
    file = default_model() if path is None else Path(path).expanduser()
    metadata = segmenter.metadata
    return {
        "file": file.name,
        "path": "default" if path is None else str(path),
        "sha256": file_hash(file),
        "variant": metadata.variant,
        "engine": segmenter.engine_name,
        "device": segmenter.device,
        "input_size": list(size or metadata.input_size),
        "commit": metadata.commit,
    }


def versions(segmenter: Segmenter) -> dict[str, str]:
    """Return the versions of this package, of Python and of what read the images and ran the model."""
    names = ("querydiff_ros", "numpy", "opencv-python-headless", *LIBRARIES.get(segmenter.engine_name, ()))
    found = {name: text for name in names if (text := _version(name))}
    return {"python": platform.python_version(), **found}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def model_path(facts: dict[str, Any]) -> Path:
    """Return the file of the model that `model_facts` described, whether it is still there or not."""
    return default_model() if facts["path"] == "default" else Path(facts["path"]).expanduser()
