"""What a Result says about the model and the software that ran it."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from querydiff_core.deployment.segmenter import Segmenter, default_model

LIBRARIES = ("querydiff_ros", "numpy", "opencv-python-headless", "onnxruntime", "torch", "rosbags")


def model_file(model: str | None) -> Path:
    """Return the file of `model`: a path, or None or "default" for the shipped one."""
    return default_model() if model in (None, "", "default") else Path(str(model)).expanduser().resolve()


def describe_model(file: Path, segmenter: Segmenter) -> dict[str, Any]:
    """Return what identifies the model in `file` that `segmenter` has opened."""
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(2**20):
            digest.update(block)
    return {
        "file": file.name,
        "sha256": digest.hexdigest(),
        "variant": segmenter.metadata.variant,
        "engine": segmenter.engine_name,
        "device": segmenter.device,
        "input_size": list(segmenter.metadata.input_size),
    }


def library_versions() -> dict[str, str]:
    """Return the versions of this package and of what it runs on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
