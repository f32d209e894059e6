"""Which topics of a bag are the camera, its ground truth and the weather."""

from __future__ import annotations

from dataclasses import dataclass

from querydiff_core.errors import QueryDiffError
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.common.topics import CONDITION_TOPIC, IMAGE_TYPES, camera_images, label_topic

GROUND_TRUTH_TYPE = "sensor_msgs/msg/Image"


@dataclass(frozen=True)
class DriveTopics:
    """Names of topics; `ground_truth` and `condition` are None where the bag has none."""

    image: str
    ground_truth: str | None
    condition: str | None

    @classmethod
    def choose(cls, bag: BagReader, image: str | None = None, ground_truth: str | None = None) -> DriveTopics:
        """Take the topics asked for, or the first camera of the bag and what the recorder calls its ground truth.

        Raises:
            QueryDiffError: if the bag lacks one of them, or it is of another type; the sentence lists what it has.
        """
        if image is None:
            cameras = sorted(camera_images(bag.topics.values()))
            if not cameras:
                raise QueryDiffError(
                    f"{bag.path} has no topic <camera>/image or <camera>/image/compressed: name the camera's topic "
                    f"with --image; it has {_described(bag)}."
                )
            image = cameras[0]
        _require(bag, image, IMAGE_TYPES)
        if ground_truth is not None:
            _require(bag, ground_truth, (GROUND_TRUTH_TYPE,))
        condition = CONDITION_TOPIC if _has(bag, CONDITION_TOPIC, "std_msgs/msg/String") else None
        return cls(image, ground_truth or _recorded_ground_truth(bag, image), condition)

    @property
    def names(self) -> tuple[str, ...]:
        """Return those that there are."""
        return tuple(name for name in (self.condition, self.image, self.ground_truth) if name)


def _recorded_ground_truth(bag: BagReader, image: str) -> str | None:
    name = f"{label_topic(image)}_ground_truth"
    return name if _has(bag, name, GROUND_TRUTH_TYPE) else None


def _has(bag: BagReader, name: str, msgtype: str) -> bool:
    return name in bag.topics and bag.topics[name].msgtype == msgtype


def _require(bag: BagReader, name: str, types: tuple[str, ...]) -> None:
    if name not in bag.topics or bag.topics[name].msgtype not in types:
        raise QueryDiffError(f"{bag.path} has no topic {name} of type {' or '.join(types)}; it has {_described(bag)}.")


def _described(bag: BagReader) -> str:
    return ", ".join(f"{topic.name} ({topic.msgtype})" for _, topic in sorted(bag.topics.items()))
