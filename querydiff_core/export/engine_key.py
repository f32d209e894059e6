"""The name of a built engine in the cache: equal for what would be built alike, and only for that."""

from __future__ import annotations

import hashlib
import json

from querydiff_core.inference.metadata import ModelMetadata


def engine_key(metadata: ModelMetadata, program: str) -> str:
    """Return a hash of the program (its operators, as text), the weights' file, the request, the GPU and versions."""
    assert metadata.build is not None
    build = {name: value for name, value in metadata.build.fields().items() if name != "checkpoint"}  # a mere path
    parts = {
        "program": program,
        "build": build,
        "size": metadata.input_size,
        "mean": metadata.mean,
        "std": metadata.std,
        "versions": dict(metadata.versions),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
