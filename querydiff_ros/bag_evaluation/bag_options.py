"""How bags are evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.inference.engine import EngineOptions
from querydiff_core.label_space import LabelMapping, label_mapping, mapping_file
from querydiff_core.utils.file_hash import file_hash


@dataclass(frozen=True)
class OnlineOptions:
    """How to play: `rate` times the recorded speed, 0 without pauses; `lockstep` waits for each frame's label."""

    rate: float = 1.0
    lockstep: bool = False


@dataclass(frozen=True)
class BagOptions:
    """How bags are evaluated.

    Attributes:
        engine: which model runs, and how.
        image: topic of the camera, None for the first `<camera>/image[/compressed]`.
        ground_truth: topic of the ground truth, None for `<camera>/label_ground_truth`.
        mapping: what the values of the ground truth mean: a bundled name or a YAML file.
        score: label mapping whose score classes are told apart, None for `mapping`'s.
        tolerance: seconds between the stamps of a frame and its ground truth, at most.
        pictures: worst frames to save for each bag.
        online: play through the real node; None runs the engine in this process.
    """

    engine: EngineOptions = field(default_factory=EngineOptions)
    image: str | None = None
    ground_truth: str | None = None
    mapping: str = "train_ids"
    score: str | None = None
    tolerance: float = 0.02
    pictures: int = 6
    online: OnlineOptions | None = None

    @property
    def score_mapping(self) -> LabelMapping:
        """Return the mapping whose score classes are told apart."""
        return label_mapping(self.score or self.mapping)

    @property
    def settings(self) -> dict[str, Any]:
        """Return what a Result keeps of these options: all that its numbers depend on but the model itself.

        Raises:
            QueryDiffError: if a mapping's file cannot be read.
        """
        settings: dict[str, Any] = {
            "window": self.engine.window,
            "image": self.image,
            "ground_truth": self.ground_truth,
            "mapping": self.mapping,
            "score": self.score or self.mapping,
            "tolerance_s": self.tolerance,
            "pictures": self.pictures,
            "mode": "offline",
        }
        for name in ("mapping", "score"):
            if file := mapping_file(settings[name]):  # which may be edited
                with explained(f"{file} cannot be read: {{reason}}.", OSError):
                    settings[f"{name}_sha256"] = file_hash(file)
        settings |= {"stride": self.engine.stride} if self.engine.stride else {}
        settings |= {"provider": self.engine.provider} if self.engine.provider != "auto" else {}
        if self.online is not None:
            mode = "lockstep" if self.online.lockstep else "free-running"
            settings |= {"mode": f"online, {mode}", "rate": self.online.rate}
        return settings

    @property
    def model_sha256(self) -> str:
        """Return the SHA-256 of the model's file.

        Raises:
            QueryDiffError: if there is no such file.
        """
        if not self.engine.file.is_file():
            raise QueryDiffError(f"No model file {self.engine.file}: give an exported engine or a checkpoint.")
        return file_hash(self.engine.file)
