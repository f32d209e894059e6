"""The segment node as a process of its own, and a drive sent through it over DDS."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import IO, Protocol

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.stop_signal import StopSignal
from querydiff_core.utils.terminal import progress
from querydiff_ros.bag_evaluation.bag_frames import BagFrames, LabelledFrames
from querydiff_ros.bag_evaluation.bag_options import BagOptions, OnlineOptions
from querydiff_ros.bag_evaluation.measurements import OnlineStatistics
from querydiff_ros.bag_evaluation.output_spool import CONFIDENCE, LABEL, OutputSpool
from querydiff_ros.bags.bag_player import BagPlayer, ReplayOptions
from querydiff_ros.bags.bag_reader import BagMessage, BagReader
from querydiff_ros.common.dds_profile import environment_with_dds_profile
from querydiff_ros.common.engine_parameters import engine_parameters
from querydiff_ros.common.install_paths import executable_path
from querydiff_ros.common.ros_session import ros_node
from querydiff_ros.common.stamps import OwnMoments, stamp_ns, with_stamp
from querydiff_ros.common.topics import label_topic

START_SECONDS = 60.0
LABEL_SECONDS = 30.0
LAST_WORDS_SECONDS = 10.0
LISTEN_SECONDS = 0.001
END_SECONDS = 10.0
"""What the node has to end after Ctrl-C."""


class NodeListener(Protocol):
    """Hears what passes between a bag and the node, in the thread that plays: it must not take its time."""

    def sent(self, message: BagMessage) -> None:
        """Take an image right before it is published."""

    def received(self, kind: str, message: bytes) -> None:
        """Take the CDR bytes of an Image of `kind`, LABEL or CONFIDENCE."""


class NodeProcess:
    """Run `segment_node` of this installation, brought up by itself, for the length of a `with` block.

    The block belongs to the main thread, which hears signals.

    Args:
        parameters: its ROS parameters beside `bring_up`.
        log: file that receives everything the node prints, None for a temporary one.
    """

    def __init__(self, parameters: Mapping[str, object], log: Path | None) -> None:
        self._parameters, self._log = {"bring_up": True, **parameters}, log
        self._file: IO[bytes]
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> NodeProcess:
        """Start the process."""
        assignments = [f"{name}:={json.dumps(value)}" for name, value in self._parameters.items()]
        ros_args = [word for assignment in assignments for word in ("-p", assignment)]
        environment = {**environment_with_dds_profile(), "PYTHONUNBUFFERED": "1"}
        self._file = self._log.open("wb") if self._log else NamedTemporaryFile()
        with StopSignal() as stop:  # an interrupt in the midst of this would leave a node that nobody ends
            self._process = subprocess.Popen(
                [executable_path("segment_node"), "--ros-args", *ros_args],
                stdin=subprocess.DEVNULL,
                stdout=self._file,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        if stop.made:
            self.__exit__(None, None, None)
            raise KeyboardInterrupt
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Interrupt the process as Ctrl-C would, and end it by force if it does not listen."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._file.close()

    def failed(self) -> bool:
        """Tell whether the process has ended or has logged an error."""
        return self._process.poll() is not None or any("[ERROR]" in line or "[FATAL]" in line for line in self._lines())

    def last_word(self) -> str:
        """Return the last error in the log, or else its last line."""
        lines = self._lines()
        errors = [line for line in lines if "[ERROR]" in line or "[FATAL]" in line]
        return (errors or lines or [f"nothing, and exit code {self._process.poll()}"])[-1]

    def _lines(self) -> list[str]:
        text = Path(self._file.name).read_text(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


@contextmanager
def labelled_by_node(
    frames: BagFrames, options: BagOptions, log: Path | None = None, listener: NodeListener | None = None
) -> Iterator[tuple[LabelledFrames, OnlineStatistics, Mapping[str, str]]]:
    """Play a bag to the node, end it, and yield the frames with what it predicted, the statistics and its diagnostics.

    Args:
        frames: of the bag; those of the camera are played.
        options: of them `online` says how to play, and the model's are the node's.
        log: file for the node's log, None for a temporary one.
        listener: hears what is sent and received.

    Raises:
        QueryDiffError: as `NodeSession` does.
    """
    if frames.is_video:
        raise QueryDiffError(
            f"The node reads images, and {frames.topics.image} is video: evaluate it without --online."
        )
    with OutputSpool() as outputs:
        with NodeSession(frames.topics.image, engine_parameters(options.engine), outputs, log, listener) as session:
            online = session.play(frames.bag, options.online or OnlineOptions())
        yield LabelledFrames(frames, lambda frame: outputs.segmentation(frame.stamp_ns)), online, session.diagnostics


class NodeSession:
    """A running `segment_node` for one camera, and this process listening to it, for the length of a `with` block.

    Attributes:
        diagnostics: the newest values of the node about its engine and the camera, by name.
    """

    def __init__(
        self,
        image_topic: str,
        parameters: Mapping[str, object],
        outputs: OutputSpool,
        log: Path | None = None,
        listener: NodeListener | None = None,
    ) -> None:
        """Prepare; nothing is started yet.

        Args:
            image_topic: the camera's, `<camera>/image` or `<camera>/image/compressed`.
            parameters: the node's.
            outputs: keeps what the node publishes.
            log: file for the node's log, None for a temporary one.
            listener: hears what is sent and received.

        Raises:
            QueryDiffError: if the node does not read topics of such a name.
        """
        labels = label_topic(image_topic)
        if labels is None:
            raise QueryDiffError(
                f"The node reads <camera>/image or <camera>/image/compressed, not {image_topic}: evaluate this bag "
                "without --online."
            )
        self._image, self._labels, self._outputs, self._listener = image_topic, labels, outputs, listener
        self._camera = labels.removesuffix("/label").removeprefix("/")
        self._process = NodeProcess({"cameras": [self._camera], **parameters}, log)
        self._exit = ExitStack()
        self._moments = OwnMoments()
        self._sent: dict[int, int] = {}  # monotonic time in ns by stamp
        self._labelled: dict[int, int] = {}
        self._confident = 0
        self.diagnostics: dict[str, str] = {}

    def __enter__(self) -> NodeSession:
        """Start the node and subscribe to it."""
        with self._exit:
            self._exit.enter_context(self._process)
            self._node = node = self._exit.enter_context(ros_node("evaluate_bag"))
            quality = QoSProfile(depth=50)  # reliable, as the node publishes
            confidence = self._labels.removesuffix("label") + "confidence"
            node.create_subscription(Image, self._labels, self._on_label, quality, raw=True)
            node.create_subscription(Image, confidence, self._on_confidence, quality, raw=True)
            node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
            self._exit = self._exit.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the node."""
        self._exit.close()

    def play(self, bag: BagReader, options: OnlineOptions) -> OnlineStatistics:
        """Play the camera's images in `bag` to the node and wait for what it makes of them.

        Raises:
            QueryDiffError: if the node does not become active, fails, or gives no label where it must.
        """
        replay = ReplayOptions(options.rate, topics=(self._image,), lockstep=options.lockstep, timeout=LABEL_SECONDS)
        player = BagPlayer(self._node, bag, replay, self._on_send)
        try:
            self._wait_for_node(player)
            self._play(player, bag.topics[self._image].count)
        except QueryDiffError as error:
            raise QueryDiffError(f"{error} The node's log ends with: {self._process.last_word()}") from error
        self._outputs.finish()
        return OnlineStatistics.of(self._sent, self._labelled, options.rate)

    def _on_send(self, message: BagMessage) -> BagMessage:
        """Give a frame the moment that is its own: by its stamp the label finds back to it, whatever was recorded."""
        moment = self._moments.of(stamp_ns(message.data), message.time_ns)
        self._sent[moment] = time.monotonic_ns()
        sent = message._replace(data=with_stamp(message.data, moment))
        if self._listener:
            self._listener.sent(sent)
        return sent

    def _on_label(self, message: bytes) -> None:
        now, stamp = time.monotonic_ns(), stamp_ns(message)
        if self._labelled.setdefault(stamp, now) == now:
            self._received(LABEL, stamp, message)

    def _on_confidence(self, message: bytes) -> None:
        self._confident += 1
        self._received(CONFIDENCE, stamp_ns(message), message)

    def _received(self, kind: str, stamp: int, message: bytes) -> None:
        self._outputs.put(kind, stamp, message)
        if self._listener:
            self._listener.received(kind, message)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith((": engine", f": {self._camera or 'camera'}")):
                self.diagnostics |= {value.key: value.value for value in status.values}

    def _wait_for_node(self, player: BagPlayer) -> None:
        def is_up() -> bool:
            return player.is_heard() and self._node.count_publishers(self._labels) > 0

        ready = player.spin_until(lambda: is_up() or self._process.failed(), START_SECONDS)
        if not ready or self._process.failed():
            raise QueryDiffError("No label arrived: the node did not become active.")
        player.wait_for_subscriber()

    def _play(self, player: BagPlayer, frames: int) -> None:
        with progress("playing", frames) as report:
            for _ in player.play():
                player.spin_until(lambda: False, LISTEN_SECONDS)  # without pauses nobody else would
                report(len(self._sent))
        # The node always labels the newest frame: once the last one is back, nothing more comes.
        last = next(reversed(self._sent), None)
        player.spin_until(lambda: last in self._labelled or self._process.failed(), LAST_WORDS_SECONDS)
        player.spin_until(lambda: self._confident >= len(self._labelled), LAST_WORDS_SECONDS)
        if self._process.failed():
            raise QueryDiffError(f"The node failed after {len(self._labelled)} labels.")
        if not self._labelled:
            raise QueryDiffError(f"No label arrived for {len(self._sent)} frames of {self._image}.")
        player.spin_until(self._all_in_diagnostics, LAST_WORDS_SECONDS)

    def _all_in_diagnostics(self) -> bool:
        return int(self.diagnostics.get("frames_labelled", 0)) >= len(self._labelled)
