"""Which topics of a bag are the camera, its ground truth and the weather."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from rosbags.typesys import Stores, get_typestore

from querydiff_core.errors import QueryDiffError
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.bags.video_stream import VIDEO_TYPES
from querydiff_ros.common.topics import CONDITION_TOPIC, IMAGE_TYPES, camera_images, label_topic

GROUND_TRUTH_TYPE = "sensor_msgs/msg/Image"
COLOR, GREY, NO_CAMERA = range(3)
"""What a topic of images may be; of several the first is judged."""
_NO_CAMERA = re.compile(
    r"depth|disparity|semantic|segmentation|instance|optical_flow|dvs|mask|label|confidence|overlay", re.I
)
_GREY_CAMERA = re.compile(r"infra|thermal|mono|gr[ae]y|lwir|\bir\b", re.I)


@dataclass(frozen=True)
class DriveTopics:
    """Names of topics; `ground_truth` and `condition` are None where the bag has none.

    `others`: cameras that could have been chosen too, where none was asked for.
    """

    image: str
    ground_truth: str | None
    condition: str | None
    others: tuple[str, ...] = ()

    @classmethod
    def choose(cls, bag: BagReader, image: str | None = None, ground_truth: str | None = None) -> DriveTopics:
        """Take the topics asked for, or the bag's camera, one of colours first, and what is named as its ground truth.

        Raises:
            QueryDiffError: if the bag lacks one of them, or it is of another type; the sentence lists what it has.
        """
        others: tuple[str, ...] = ()
        if image is None:
            image, *rest = _cameras(bag)
            others = tuple(rest)
        _require(bag, image, (*IMAGE_TYPES, *VIDEO_TYPES))
        if ground_truth is not None:
            _require(bag, ground_truth, (GROUND_TRUTH_TYPE,))
        condition = CONDITION_TOPIC if _has(bag, CONDITION_TOPIC, "std_msgs/msg/String") else None
        return cls(image, ground_truth or _recorded_ground_truth(bag, image), condition, others)

    @property
    def names(self) -> tuple[str, ...]:
        """Return those that there are."""
        return tuple(name for name in (self.condition, self.image, self.ground_truth) if name)


def _cameras(bag: BagReader) -> list[str]:
    """Return the cameras of a bag, the one to judge first: images before video, which lost something.

    Raises:
        QueryDiffError: if there are none, or none but of depth and the like.
    """
    videos = {topic.name for topic in bag.topics.values() if topic.msgtype in VIDEO_TYPES}
    found = {*camera_images(bag.topics.values()), *videos}
    if not found:
        raise QueryDiffError(
            f"{bag.path} has no topic <camera>/image or <camera>/image/compressed, and no video: name the camera's "
            f"topic with --image; it has {_described(bag)}."
        )
    kinds = {name: _kind(bag, name) for name in found}
    cameras = [name for name in found if kinds[name] != NO_CAMERA]
    cameras.sort(key=lambda name: (kinds[name], name in videos, name))
    if not cameras:
        raise QueryDiffError(
            f"{bag.path} has no images of a colour camera, only {', '.join(sorted(found))}: name one with --image."
        )
    return cameras


def _kind(bag: BagReader, name: str) -> int:
    """Tell a camera of colours from one of greys, and from depth, labels and the like, by its encoding and its name."""
    if _NO_CAMERA.search(name):
        return NO_CAMERA
    kind = bag.topics[name].msgtype
    try:
        first = next(iter(bag.messages({name})))
        message: Any = get_typestore(Stores.ROS2_JAZZY).deserialize_cdr(first.data, kind)
        stated: str = message.encoding if kind == GROUND_TRUTH_TYPE else message.format
    except Exception:  # a rotten message makes the parser raise anything; what cannot be read is said later
        stated = ""
    if re.match(r"(16|32)[USF]C1|mono16", stated) or "compressedDepth" in stated:
        return NO_CAMERA
    return GREY if re.match(r"mono8|8UC1", stated) or _GREY_CAMERA.search(name) else COLOR


def _recorded_ground_truth(bag: BagReader, image: str) -> str | None:
    """Return what the recorder calls the ground truth of a camera, or CARLA's semantic camera beside its RGB camera."""
    names = [f"{label_topic(image) or _video_label_topic(image)}_ground_truth"]
    if "rgb" in image:
        names.append(image.removesuffix("/compressed").replace("rgb", "semantic_segmentation"))
    return next((name for name in names if _has(bag, name, GROUND_TRUTH_TYPE)), None)


def _video_label_topic(video: str) -> str:
    """Return where the labels of a video would lie: of /front/image/ffmpeg and /front/video that is /front/label."""
    return re.sub(r"(/image\w*)?/[^/]+$", "/label", video)


def _has(bag: BagReader, name: str, msgtype: str) -> bool:
    return name in bag.topics and bag.topics[name].msgtype == msgtype


def _require(bag: BagReader, name: str, types: tuple[str, ...]) -> None:
    if name not in bag.topics or bag.topics[name].msgtype not in types:
        raise QueryDiffError(f"{bag.path} has no topic {name} of type {' or '.join(types)}; it has {_described(bag)}.")


def _described(bag: BagReader) -> str:
    return ", ".join(f"{topic.name} ({topic.msgtype})" for _, topic in sorted(bag.topics.items()))
