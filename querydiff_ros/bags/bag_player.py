"""Play a recorded drive into ROS topics, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

from querydiff_core.errors import QueryDiffError
from querydiff_ros.bags.bag_file import BagMessage
from querydiff_ros.bags.bag_reader import BagReader, BagTopic
from querydiff_ros.bags.label_watch import LabelWatch
from querydiff_ros.common.ros_session import spin_until
from querydiff_ros.common.stamps import has_stamp, stamp_ns
from querydiff_ros.common.topics import IMAGE_TYPES, camera_images, label_topic

if TYPE_CHECKING:
    from rclpy.node import Node

QUEUE = 10
FRAMES_LOST_IN_A_ROW = 3
DISCOVERY_SETTLES = 0.5
CLOCK_TOPIC = "/clock"
TRANSFORMS, TRANSFORMS_KEPT = "tf2_msgs/msg/TFMessage", 100
OTHER_CLOCK = 86400.0
"""Seconds that stamps may be apart from the times of the recording and still be taken for the same clock's."""
ACKNOWLEDGED_WITHIN = Duration(seconds=5)


def still_true(messages: Iterable[BagMessage], kinds: Mapping[str, str]) -> list[BagMessage]:
    """Return what of latched messages holds at their end: the last of each topic, and all transforms.

    Several nodes send static transforms, one message each, on one topic. `kinds`: the type of each topic.
    """
    held: dict[object, BagMessage] = {}
    for number, message in enumerate(messages):
        held[number if kinds[message.topic] == TRANSFORMS else message.topic] = message
    return list(held.values())


@dataclass(frozen=True)
class ReplayOptions:
    """How to play.

    `rate`: times the recorded speed, 0 as fast as possible. `start`: seconds into the bag. `topics`: the ones to play,
    empty for all. `loop`: start again at the end. `lockstep`: wait for a frame's label before going on. `clock`:
    publish the recorded time on /clock, unless the bag has a /clock of its own. `wait`: seconds to wait for a
    subscriber. `timeout`: seconds to wait for a label. `max_gap`: seconds of recorded time; longer pauses are left out.
    """

    rate: float = 1.0
    start: float = 0.0
    topics: tuple[str, ...] = ()
    loop: bool = False
    lockstep: bool = False
    clock: bool = False
    wait: float = 10.0
    timeout: float = 10.0
    max_gap: float = 60.0


class BagPlayer:
    """Publish the messages of a bag through `node`, which this object spins.

    Publishers are reliable, so that subscribers of both kinds receive, and latched where the recorded ones were.

    Args:
        node: publishes and listens.
        bag: the drive.
        options: how to play.
        on_publish: called with each message right before it is published; returns what is published in its place.
        say: takes sentences on what is not played as it was recorded.

    Attributes:
        frames_published, frames_labelled: in lockstep, frames sent, and of those the ones a label came back for; one
            that a camera sends by both transports counts once.
        skipped: images that are too short for a header; they are not played.

    Raises:
        QueryDiffError: if the bag lacks a topic asked for, or holds nothing that can be played, or it is shorter
            than `start`, or has no image topic to be in lockstep with.
    """

    def __init__(
        self,
        node: Node,
        bag: BagReader,
        options: ReplayOptions,
        on_publish: Callable[[BagMessage], BagMessage] = lambda message: message,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._node, self._bag, self._options, self._on_publish, self._say = node, bag, options, on_publish, say
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._topics = bag.select(options.topics or sorted(bag.topics))
        self._images = {topic.name for topic in self._topics if topic.msgtype in IMAGE_TYPES}
        self._publishers: dict[str, Any] = {}
        self._advertise_all()
        seconds = (bag.end_ns - bag.start_ns) / 1e9
        if options.start > seconds:
            raise QueryDiffError(f"{bag.path} lasts {seconds:.1f} s: --start {options.start:g} is past its end.")
        self._clock = self._make_clock() if options.clock and CLOCK_TOPIC not in self._publishers else None
        self._tell_of_clocks()
        self._watches = self._watch_labels() if options.lockstep else {}
        self.frames_published = self.frames_labelled = self.skipped = self._lost_in_a_row = 0

    def wait_for_subscriber(self) -> bool:
        """Wait until `is_heard`; False if that takes longer than `wait` seconds."""
        heard = self.spin_until(self.is_heard, self._options.wait)
        # Discovery goes topic by topic and side by side: whom we have found is about to find all of ours.
        while heard and self._listeners_change():
            pass
        return heard

    def is_heard(self) -> bool:
        """Tell whether somebody listens; in lockstep: whether every camera has a listener and publishes labels."""
        heard = self._listeners()
        if not self._watches:
            return any(heard.values())
        connected = [watch.connect() for watch in self._watches.values()]
        # A camera's raw and compressed images share one watch, and the node may listen to either.
        answered = {watch for name, watch in self._watches.items() if heard[name]}
        return all(connected) and answered == set(self._watches.values())

    def play(self) -> Iterator[BagMessage]:
        """Publish message after message at its time and yield each once it is out (in lockstep: labelled).

        Raises:
            QueryDiffError: in lockstep, if the first frame or three frames in a row get no label.
        """
        while True:
            yield from self._play_once()
            if not self._options.loop:
                break
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(ACKNOWLEDGED_WITHIN)

    def spin_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Run the node's callbacks until `condition` holds; False if it does not within `seconds`."""
        return spin_until(self._executor, condition, seconds)

    def _listeners_change(self) -> bool:
        before = self._listeners()
        return self.spin_until(lambda: self._listeners() != before, DISCOVERY_SETTLES)

    def _listeners(self) -> dict[str, int]:
        return {name: publisher.get_subscription_count() for name, publisher in self._publishers.items()}

    def _play_once(self) -> Iterator[BagMessage]:
        names, start_ns = set(self._publishers), self._bag.start_ns + round(self._options.start * 1e9)
        yield from self._latched_before(start_ns)
        began, before_ns = time.monotonic(), start_ns
        for message in self._messages(names, start_ns):
            if self._options.rate:
                if (gap := (message.time_ns - before_ns) / 1e9) > self._options.max_gap:
                    self._say(f"A gap of {gap:.1f} s in the recording is left out: it is longer than --max-gap.")
                    start_ns += message.time_ns - before_ns
                due = began + (message.time_ns - start_ns) / 1e9 / self._options.rate
                self.spin_until(lambda: False, due - time.monotonic())
                before_ns = message.time_ns
            yield self._publish(message)

    def _messages(
        self, names: set[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Yield what is recorded, but images that are too short for a header: no stamp tells them from others."""
        for message in self._bag.messages(names, start_ns, stop_ns):
            if message.topic not in self._images or has_stamp(message.data):
                yield message
                continue
            if not self.skipped:
                self._say(
                    f"{message.topic} holds a message of {len(message.data)} bytes, too short for an image: it is "
                    "skipped, and so are others like it."
                )
            self.skipped += 1

    def _latched_before(self, start_ns: int) -> Iterator[BagMessage]:
        """Publish what latched topics said before the start and still holds."""
        latched = {t.name: t.msgtype for t in self._topics if t.latched and t.name in self._publishers}
        for message in still_true(self._messages(set(latched), stop_ns=start_ns), latched):
            yield self._publish(message)

    def _publish(self, message: BagMessage) -> BagMessage:
        if self._clock:
            self._publish_time(message.time_ns)
        publisher = self._publishers[message.topic]
        message = self._on_publish(message)
        if message.topic in self._watches:
            self._publish_frame(message, publisher)
        else:
            publisher.publish(message.data)
        return message

    def _gets_label(self, topic: str, stamp: int) -> bool:
        """Tell whether the node labels this frame: of two transports it may read one, or take the other's as known."""
        watch = self._watches[topic]
        topics = [name for name, each in self._watches.items() if each is watch]
        heard = [name for name in topics if watch.hears(name)] if len(topics) > 1 else topics
        return (topic in heard or not heard) and not watch.answered.has_come(topic, stamp, time.monotonic())

    def _publish_frame(self, message: BagMessage, publisher: Any) -> None:
        watch, stamp = self._watches[message.topic], stamp_ns(message.data)
        if not self._gets_label(message.topic, stamp):
            publisher.publish(message.data)
            return
        self.frames_published += 1
        # A best-effort subscriber may lose a frame: it is sent once more, the first one until discovery must be over.
        patience = self._options.timeout / (2 if self.frames_labelled else 10)
        end = time.monotonic() + self._options.timeout
        labelled, sent = False, 0.0
        while not labelled and (left := end - time.monotonic()) > 0:
            sent = time.monotonic()
            publisher.publish(message.data)
            labelled = self.spin_until(lambda: stamp in watch.stamps, min(left, patience))
        watch.stamps.clear()
        if labelled:
            watch.answered.add(message.topic, stamp, sent)
        self._count(message, watch, labelled)

    def _count(self, message: BagMessage, watch: LabelWatch, labelled: bool) -> None:
        self.frames_labelled += labelled
        self._lost_in_a_row = 0 if labelled else self._lost_in_a_row + 1
        if not self.frames_labelled or self._lost_in_a_row == FRAMES_LOST_IN_A_ROW:
            raise QueryDiffError(self._complaint(message, watch))

    def _complaint(self, message: BagMessage, watch: LabelWatch) -> str:
        stamp = stamp_ns(message.data)
        return (
            f"No label on {watch.topic} for frame {self.frames_published} of {message.topic} (stamp {stamp / 1e9:.3f}) "
            f"within {self._options.timeout:g} s: is the segment node active, and are its engine and log in order?"
        )

    def _advertise_all(self) -> None:
        """Make the publishers.

        Raises:
            QueryDiffError: if no topic can be played.
        """
        refused: dict[str, list[str]] = {}
        for topic in self._topics:
            if reason := self._advertise(topic):
                refused.setdefault(reason, []).append(f"{topic.name} ({topic.msgtype})")
        said = [f"{reason}: {', '.join(names)}" for reason, names in refused.items()]
        if not self._publishers:
            raise QueryDiffError(f"{self._bag.path} has nothing to play; {'; '.join(said)}.")
        for sentence in said:
            self._say(f"Skipped, {sentence}.")

    def _advertise(self, topic: BagTopic) -> str | None:
        """Make the publisher of a topic, or return why there can be none."""
        kind = _message_class(topic.msgtype)
        if kind is None:
            return "their message type is not installed"
        durability = QoSDurabilityPolicy.TRANSIENT_LOCAL if topic.latched else QoSDurabilityPolicy.VOLATILE
        depth = TRANSFORMS_KEPT if topic.msgtype == TRANSFORMS else QUEUE
        profile = QoSProfile(depth=depth, reliability=QoSReliabilityPolicy.RELIABLE, durability=durability)
        try:
            self._publishers[topic.name] = self._node.create_publisher(kind, topic.name, profile)
        except InvalidTopicNameException:
            return "ROS 2 does not allow such names"
        return None

    def _tell_of_clocks(self) -> None:
        """Say which clock is played, and which frames carry stamps of another one than the recording's."""
        if self._options.clock and self._clock is None:
            self._say(f"The recorded {CLOCK_TOPIC} is played, and none is made for --clock.")
        for image in camera_images(self._topics):
            first = next(iter(self._bag.messages({image})), None)
            apart = abs(stamp_ns(first.data) - first.time_ns) / 1e9 if first and has_stamp(first.data) else 0.0
            if apart > OTHER_CLOCK:
                under = f" under the {CLOCK_TOPIC} that is made from those times" if self._clock else ""
                self._say(
                    f"The stamps of {image} are {apart:.0f} s apart from the times when they were recorded: they are "
                    f"simulated or were never set, and ages and latencies from them mean nothing{under}."
                )

    def _watch_labels(self) -> dict[str, LabelWatch]:
        images = camera_images(self._topics)
        if not images:
            raise QueryDiffError(
                f"{self._bag.path}: --lockstep needs a topic <camera>/image or <camera>/image/compressed; playing are "
                f"{', '.join(sorted(self._publishers))}."
            )
        watches = {name: LabelWatch(self._node, name) for name in {str(label_topic(image)) for image in images}}
        return {image: watches[str(label_topic(image))] for image in images}

    def _make_clock(self) -> Any:
        from rosgraph_msgs.msg import Clock

        return self._node.create_publisher(Clock, CLOCK_TOPIC, QUEUE)

    def _publish_time(self, time_ns: int) -> None:
        from builtin_interfaces.msg import Time
        from rosgraph_msgs.msg import Clock

        seconds, nanoseconds = divmod(time_ns, 10**9)
        assert self._clock
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))


def _message_class(msgtype: str) -> Any:
    """Return the class of a type such as sensor_msgs/msg/Image, None if it is not installed."""
    package, _, name = msgtype.partition("/msg/")
    try:
        return getattr(import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError):
        return None
