"""What is needed to measure again: the model file's facts and the versions that ran it."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from querydiff_core.inference.build_target import installed_versions
from querydiff_core.inference.engine import EngineOptions
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.utils.file_hash import file_hash

LIBRARIES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "torch": ("torch",),
    "inductor": ("torch",),
    "tensorrt": ("torch", "tensorrt"),
}
"""What runs a model, by the name of the engine."""


def file_facts(options: EngineOptions) -> dict[str, Any]:
    """Return what names the model's file; `sha256` is None if it is not there."""
    file = options.file
    sha256 = file_hash(file) if file.is_file() else None
    return {"file": file.name, "path": str(options.model or "default"), "sha256": sha256}


def model_facts(options: EngineOptions, segmenter: Segmenter) -> dict[str, Any]:
    """Return the facts of the model that `segmenter` was opened from with `options`."""
    metadata = segmenter.metadata
    return file_facts(options) | {
        "variant": metadata.variant,
        "engine": segmenter.engine_name,
        "device": segmenter.device,
        "input_size": list(options.size or metadata.input_size),
        "commit": metadata.commit,
    }


def versions(engine: str) -> dict[str, str]:
    """Return the versions of this package, of Python and of what reads images and runs models in that engine."""
    libraries = ("querydiff_ros", "numpy", "opencv-python-headless", *LIBRARIES.get(engine, ()))
    return {"python": platform.python_version(), **installed_versions(libraries)}


def model_path(facts: dict[str, Any]) -> Path:
    """Return the file of the model that `model_facts` described, whether it is still there or not."""
    return EngineOptions(None if facts["path"] == "default" else facts["path"]).file
