"""What is measured of a bag: frame by frame, by condition, online, and all of it as the Result keeps it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SLOWEST = 0.9
"""Share of the wanted rate that a drive must be played at for its latency to be taken for true."""


@dataclass(frozen=True)
class FrameScore:
    """Numbers of one labelled frame, shares 0 to 1; None where they are not known.

    `miou`: over a window of the frames up to this one. `frame_miou`: of this one alone. `confidence`: its mean over
    the pixels. `consistency`: share of pixels that keep their label along their motion since the frame before.
    """

    stamp_ns: int
    condition: str
    miou: float | None
    frame_miou: float | None
    confidence: float | None
    consistency: float | None


@dataclass(frozen=True)
class ConditionSummary:
    """Means over the labelled frames of a condition, 0 to 1; None where they are not known."""

    frames: int
    confidence: float | None
    temporal_consistency: float | None

    @classmethod
    def of(cls, scores: Sequence[FrameScore]) -> ConditionSummary:
        """Sum up `scores`."""
        return cls(len(scores), _mean(s.confidence for s in scores), _mean(s.consistency for s in scores))


@dataclass(frozen=True)
class Latency:
    """Percentiles in milliseconds."""

    p50: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Latency:
        """Sum up at least one latency."""
        return cls(*(round(float(np.percentile(milliseconds, p)), 2) for p in (50, 90, 99, 100)))


@dataclass(frozen=True)
class OnlineStatistics:
    """What was measured of the node while a drive was played to it; rates in Hz, None for fewer than two events.

    A frame's stamp is its time in the drive; when the drive is played, that moment is its publication. Latency from
    stamp is from there to the arrival of its label in this process: both ways through DDS included.
    """

    frames_published: int
    frames_labelled: int
    drop_rate: float
    rate_wanted_hz: float | None
    rate_published_hz: float | None
    rate_labelled_hz: float | None
    latency_from_stamp_ms: Latency

    @classmethod
    def of(cls, sent: Mapping[int, int], labelled: Mapping[int, int], speed: float) -> OnlineStatistics:
        """Sum up monotonic times in ns by stamp; `speed` is times the recorded one, 0 for a drive without pauses."""
        arrived = [(labelled[stamp] - time) / 1e6 for stamp, time in sent.items() if stamp in labelled]
        recorded = _rate(sent)
        return cls(
            len(sent),
            len(arrived),
            1 - len(arrived) / len(sent),
            round(recorded * speed, 3) if recorded and speed else None,
            _rate(sent.values()),
            _rate(labelled.values()),
            Latency.of(arrived),
        )

    @property
    def too_slow(self) -> bool:
        """Return whether this machine could not play the drive at the rate that was wanted."""
        wanted, held = self.rate_wanted_hz, self.rate_published_hz
        return bool(wanted and held and held < SLOWEST * wanted)


@dataclass(frozen=True)
class BagEntry:
    """What the Result keeps of a bag under `data`.

    Attributes:
        bag: its name.
        fingerprint: SHA-256 over names, sizes and ends of its files, before they were read.
        image, ground_truth: topics, None where there is none.
        damage: what is wrong with the bag, None if nothing is.
        frames, frames_rejected, frames_with_ground_truth, frames_labelled: numbers of frames.
        labels_sha256: over stamps and predictions.
        conditions: by name.
        online: None where the engine ran in this process.
    """

    bag: str
    fingerprint: str
    image: str
    ground_truth: str | None
    damage: str | None
    frames: int
    frames_rejected: int
    frames_with_ground_truth: int
    frames_labelled: int
    labels_sha256: str
    conditions: dict[str, ConditionSummary]
    online: OnlineStatistics | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values, without `online` where there is nothing."""
        return {key: value for key, value in asdict(self).items() if key != "online" or value is not None}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> BagEntry:
        """Return the entry whose `to_json` is `raw`."""
        conditions = {name: ConditionSummary(**summary) for name, summary in raw["conditions"].items()}
        online = None
        if measured := raw.get("online"):
            latency = Latency(**measured["latency_from_stamp_ms"])
            online = OnlineStatistics(**{**measured, "latency_from_stamp_ms": latency})
        return cls(**{**raw, "conditions": conditions, "online": online})


def scores_csv(scores: Iterable[FrameScore]) -> str:
    """Return the scores as CSV with a header, one row a frame."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["stamp_ns", "condition", "miou", "frame_miou", "confidence", "consistency"])
    for score in scores:
        shares = (score.miou, score.frame_miou, score.confidence, score.consistency)
        writer.writerow([score.stamp_ns, score.condition, *("" if s is None else f"{s:.6f}" for s in shares)])
    return text.getvalue()


def _mean(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _rate(times_ns: Iterable[int]) -> float | None:
    times = sorted(times_ns)
    if len(times) < 2 or times[0] == times[-1]:
        return None
    return round((len(times) - 1) / (times[-1] - times[0]) * 1e9, 3)
