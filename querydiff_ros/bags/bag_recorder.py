"""Record a drive, images with their labels, as a rosbag2 that any ROS 2 tool plays."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.utils.image_files import encode_jpeg
from querydiff_core.utils.terminal import tracked
from querydiff_ros.common.topics import CONDITION_TOPIC

if TYPE_CHECKING:
    from querydiff_core.street_scenes import DriveFrame

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
FIRST_STAMP_NS = 1_700_000_000 * 10**9
"""Where the stamps of generated drives begin: any fixed time will do, so that the same drive makes the same bag."""
_FOREVER = QosTime(9223372036, 854775807)  # what rclcpp writes for an infinite duration


class DriveRecorder:
    """Write one camera's frames into a new rosbag2 at `path`; used as a context manager.

    Topics: `/<camera>/image/compressed` (JPEG) or `/<camera>/image` (rgb8), `/<camera>/camera_info`,
    `/<camera>/label_ground_truth` (mono8 trainIds) for frames with labels, and `/condition`, latched, at the first
    frame of each stretch of equal condition. The bag appears at `path` when the recorder closes without an exception;
    until then, and after a failure, nothing is there.

    Raises:
        QueryDiffError: if `path` exists or cannot be written, or `camera` or `storage` is not valid.
    """

    def __init__(self, path: str | Path, camera: str = "front", storage: str = "mcap", compressed: bool = True) -> None:
        if not re.fullmatch(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", camera, re.ASCII):
            raise QueryDiffError(f"Camera {camera!r} is no ROS name: expected letters, digits and _ such as front.")
        if storage not in STORAGES:
            raise QueryDiffError(f"No bag storage {storage}: expected one of {', '.join(STORAGES)}.")
        self.path = Path(path)
        self._camera = camera
        self._plugin = STORAGES[storage]
        self._compressed = compressed
        self._messages = _DriveMessages(camera)
        self._connections: dict[str, Connection] = {}
        self._condition: str | None = None

    def __enter__(self) -> DriveRecorder:
        """Open the bag in a temporary folder beside `path`."""
        if self.path.exists():
            raise QueryDiffError(f"{self.path} exists already: delete it or choose another name for the bag.")
        self._folder = self._make_folder()
        # The storage file is named after its folder, so the bag gets its final name inside the temporary one.
        # Version 8 of the metadata is the newest that Humble's tools read; later ones read it too.
        self._writer = Writer(self._folder / self.path.name, version=8, storage_plugin=self._plugin)
        if self._plugin is StoragePlugin.MCAP:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        return self

    def write(
        self,
        stamp_ns: int,
        image_rgb: np.ndarray,
        labels: np.ndarray | None = None,
        condition: str | None = None,
        focal_length: float | None = None,
    ) -> None:
        """Append one frame.

        Args:
            stamp_ns: time of the frame since the epoch, nanoseconds; the messages' stamp and their time in the bag.
            image_rgb: uint8 `(H, W, 3)`.
            labels: uint8 `(H, W)` trainIds, 255 unlabelled.
            condition: weather and light, such as clear, fog, night, rain or snow.
            focal_length: pixels; by default the image's width, a field of view of 53 degrees.

        Raises:
            QueryDiffError: if the sizes of image and labels differ, or the disk is full.
        """
        if labels is not None and labels.shape != image_rgb.shape[:2]:
            raise QueryDiffError(f"{self.path}: image is {image_rgb.shape[:2]} and its labels are {labels.shape}.")
        messages, camera = self._messages, f"/{self._camera}"
        if condition is not None and condition != self._condition:
            self._write(CONDITION_TOPIC, stamp_ns, messages.text(condition), latched=True)
            self._condition = condition
        self._write(f"{camera}/camera_info", stamp_ns, messages.camera_info(stamp_ns, image_rgb.shape, focal_length))
        if self._compressed:
            self._write(f"{camera}/image/compressed", stamp_ns, messages.jpeg(stamp_ns, image_rgb))
        else:
            self._write(f"{camera}/image", stamp_ns, messages.image(stamp_ns, image_rgb, "rgb8"))
        if labels is not None:
            self._write(f"{camera}/label_ground_truth", stamp_ns, messages.image(stamp_ns, labels, "mono8"))

    def write_generated(self, frames: Iterable[DriveFrame], count: int) -> None:
        """Append all `count` frames of a generated drive as they are rendered."""
        for frame in tracked(frames, "rendering a drive", count):
            stamp, focal_length = FIRST_STAMP_NS + frame.stamp, frame.camera_info.focal_length
            self.write(stamp, frame.image, frame.labels, frame.condition, focal_length)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the bag and rename it to `path`, or leave nothing."""
        with ExitStack() as cleanup:
            cleanup.callback(shutil.rmtree, self._folder, ignore_errors=True)
            with self._writing():
                self._writer.__exit__(kind, error, trace)
                if kind is None:
                    (self._folder / self.path.name).rename(self.path)

    def _make_folder(self) -> Path:
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))

    def _writing(self) -> AbstractContextManager[None]:
        return explained(f"Cannot write {self.path}: {{reason}}.", OSError)

    def _write(self, topic: str, stamp_ns: int, message: Any, latched: bool = False) -> None:
        kind, store = message.__msgtype__, self._messages.store
        with self._writing():
            if topic not in self._connections:
                self._connections[topic] = self._writer.add_connection(
                    topic, kind, typestore=store, offered_qos_profiles=[_qos(latched)]
                )
            self._writer.write(self._connections[topic], stamp_ns, store.serialize_cdr(message, kind))


class _DriveMessages:
    """Make the messages of a drive in the camera's frame."""

    def __init__(self, camera: str) -> None:
        self.store = get_typestore(Stores.ROS2_JAZZY)
        self._types = self.store.types
        self._frame_id = camera

    def text(self, text: str) -> Any:
        return self._types["std_msgs/msg/String"](data=text)

    def image(self, stamp_ns: int, image: np.ndarray, encoding: str) -> Any:
        """Make an Image of uint8 `(H, W)` or `(H, W, 3)`."""
        height, width = image.shape[:2]
        data = np.ascontiguousarray(image).reshape(-1)
        return self._types["sensor_msgs/msg/Image"](
            header=self._header(stamp_ns),
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=len(data) // height,
            data=data,
        )

    def jpeg(self, stamp_ns: int, image_rgb: np.ndarray) -> Any:
        """Make a CompressedImage of uint8 RGB `(H, W, 3)`."""
        return self._types["sensor_msgs/msg/CompressedImage"](
            header=self._header(stamp_ns), format="rgb8; jpeg compressed bgr8", data=encode_jpeg(image_rgb)
        )

    def camera_info(self, stamp_ns: int, shape: tuple[int, ...], focal_length: float | None) -> Any:
        """Make the CameraInfo of an undistorted pinhole camera whose axis meets the image's centre."""
        height, width = shape[:2]
        focal = float(focal_length or width)
        k = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]], np.float64)
        return self._types["sensor_msgs/msg/CameraInfo"](
            header=self._header(stamp_ns),
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=k.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack([k, np.zeros((3, 1))]).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=self._types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
        )

    def _header(self, stamp_ns: int) -> Any:
        time = self._types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
        return self._types["std_msgs/msg/Header"](stamp=time, frame_id=self._frame_id)


def _qos(latched: bool) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 10,
        QosReliability.RELIABLE,
        durability,
        _FOREVER,
        _FOREVER,
        QosLiveliness.AUTOMATIC,
        _FOREVER,
        False,
    )
