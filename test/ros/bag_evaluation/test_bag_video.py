"""Bags with video: the labels are those of its decoded frames, and packets without a sound frame are named."""

import random
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
from drives import START, STEP, picture, record
from engines import expected_labels
from rosbags.rosbag2 import StoragePlugin, Writer

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_core.utils.video import read_video
from querydiff_ros.bag_evaluation.bag_frames import BagFrames
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_sources import BagSource
from querydiff_ros.bag_evaluation.drive_topics import DriveTopics
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.bags.bag_recorder import DriveRecorder
from querydiff_ros.bags.video_stream import FFMPEG_PACKET, FOXGLOVE_VIDEO, typestore
from querydiff_ros.cli import evaluate_bag

STORE = typestore()
FRAMES, GROUP = 20, 10
"""Frames of a video, and how many there are from one key frame to the next."""
PLAIN = {"x264-params": "bframes=0"}


def encoded(encoder="libx264", options=PLAIN):
    """Return the packets of the drive's pictures as (index of the picture, bytes) in the order of decoding."""
    codec = av.CodecContext.create(encoder, "w")
    codec.height, codec.width = picture(0).shape[:2]
    codec.pix_fmt, codec.time_base, codec.framerate, codec.gop_size = "yuv420p", Fraction(1, 10), Fraction(10), GROUP
    codec.options = options
    packets = []
    for index in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
        frame.pts, frame.time_base = index, codec.time_base
        packets += codec.encode(frame)
    return [(packet.pts, bytes(packet)) for packet in [*packets, *codec.encode(None)]]


def video_bag(path, packets, kind=FOXGLOVE_VIDEO, codec="h264", storage="mcap", topic="/front/video", truths=FRAMES):
    """Record a bag of packets, each under the stamp of its picture, and the ground truth of the first pictures."""
    types = STORE.types
    with Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        video = writer.add_connection(topic, kind, typestore=STORE)
        labels = writer.add_connection("/front/label_ground_truth", "sensor_msgs/msg/Image", typestore=STORE)

        def stamp(index):
            return types["builtin_interfaces/msg/Time"](*divmod(START + index * STEP, 10**9))

        for number, (index, packet) in enumerate(packets):
            data = np.frombuffer(packet, np.uint8)
            header = types["std_msgs/msg/Header"](stamp(index), "front")
            if kind == FOXGLOVE_VIDEO:
                message = types[kind](stamp(index), "front", data, codec)
            else:
                message = types[kind](header, 96, 48, codec, index, 0, False, data)
            writer.write(video, START + number * STEP, STORE.serialize_cdr(message, kind))
        for index in range(truths):
            header, truth = types["std_msgs/msg/Header"](stamp(index), "front"), expected_labels(picture(index))
            image = types["sensor_msgs/msg/Image"](header, 48, 96, "mono8", 0, 96, truth.reshape(-1))
            writer.write(labels, START + index * STEP, STORE.serialize_cdr(image, "sensor_msgs/msg/Image"))
    return path


def decoded(path, packets):
    """Return the frames that a player shows of these packets, written to a file."""
    path.write_bytes(b"".join(data for _, data in packets))
    return list(read_video(path)[1])


def frames_of(bag):
    return BagFrames(BagSource(bag, bag.name, ""), BagOptions())


@pytest.fixture
def evaluate(tmp_path, pixel_engine):
    def run(bag, *arguments):
        output = tmp_path / f"{bag.name}.json"
        words = [str(bag), "--model", str(pixel_engine), "--output", str(output), *arguments]
        return evaluate_bag.main(words), Result.load(output).data[0]

    return run


@pytest.mark.parametrize(
    ("encoder", "options", "kind", "codec", "storage"),
    [
        ("libx264", PLAIN, FOXGLOVE_VIDEO, "h264", "mcap"),
        ("libx264", {}, FFMPEG_PACKET, "libx264", "sqlite3"),
        ("libx264", {}, FFMPEG_PACKET, "h264;yuv420p;bgr8;rgb8", "mcap"),
        ("libx265", {"x265-params": "bframes=0:log-level=none"}, FOXGLOVE_VIDEO, "h265", "sqlite3"),
        ("libx265", {"x265-params": "log-level=none"}, FFMPEG_PACKET, "hevc_nvenc", "mcap"),
    ],
)
def test_a_video_gets_the_labels_of_its_decoded_frames(tmp_path, evaluate, encoder, options, kind, codec, storage):
    packets = encoded(encoder, options)
    assert ([index for index, _ in packets] == sorted(index for index, _ in packets)) == ("bframes=0" in str(options))
    shown = decoded(tmp_path / f"video.{codec[:4]}", packets)
    with DriveRecorder(tmp_path / "frames", compressed=False) as recorder:
        for index, image in enumerate(shown):
            recorder.write(START + index * STEP, image, expected_labels(picture(index)))
    code, raw = evaluate(tmp_path / "frames")
    code, video = evaluate(video_bag(tmp_path / "video", packets, kind, codec, storage))
    assert code == 0
    assert (video["frames"], video["frames_rejected"], video["frames_with_ground_truth"]) == (FRAMES, 0, FRAMES)
    assert video["labels_sha256"] == raw["labels_sha256"]
    assert video["conditions"] == raw["conditions"]


def cut(packets):
    return packets[3:]


def lost(packets):
    return packets[: GROUP + 2] + packets[GROUP + 4 :]


def lost_key_frame(packets):
    return packets[:GROUP] + packets[GROUP + 1 :]


def emptied(packets):
    return [(index, b"" if index == GROUP + 4 else data) for index, data in packets]


def halved(packets):
    return [(index, data[: len(data) // 2] if index == FRAMES - 1 else data) for index, data in packets]


@pytest.mark.parametrize(
    ("spoil", "missing", "said"),
    [
        (cut, range(GROUP), "7 of /front/video come before the first key frame, the first at 1700000000.300 s"),
        (lost, range(GROUP + 2, 2 * GROUP), "6 of /front/video follow lost packets, up to the next key frame, the "),
        (lost_key_frame, range(GROUP, 2 * GROUP), "9 of /front/video follow lost packets"),
        (emptied, range(GROUP + 4, 2 * GROUP), "1 of /front/video do not decode, or follow packets that do not"),
        (halved, [FRAMES - 1], "1 of /front/video do not decode"),
    ],
)
def test_frames_that_build_upon_what_is_not_there_are_left_out_and_named(
    tmp_path, evaluate, capsys, spoil, missing, said
):
    packets = encoded()
    whole = list(frames_of(video_bag(tmp_path / "whole", packets)))
    spoilt = video_bag(tmp_path / "spoilt", spoil(packets))
    found = list(frames_of(spoilt))
    kept = [index for index in range(FRAMES) if index not in missing]
    assert [frame.stamp_ns for frame in found] == [START + index * STEP for index in kept]
    for frame, index in zip(found, kept, strict=True):
        np.testing.assert_array_equal(frame.image, whole[index].image)
        np.testing.assert_array_equal(frame.ground_truth, expected_labels(picture(index)))
    code, entry = evaluate(spoilt)
    assert (code, entry["frames"]) == (0, len(kept))
    assert entry["frames_rejected"] == len(spoil(packets)) - len(kept)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("codec", ["vp9", "", "h264"])
def test_a_video_of_another_codec_or_without_a_key_frame_is_not_judged(tmp_path, evaluate, capsys, codec):
    packets = [(index, data) for index, data in encoded() if index % GROUP] if codec == "h264" else encoded()
    code, entry = evaluate(video_bag(tmp_path / "bag", packets, codec=codec))
    assert (code, entry["frames"], entry["frames_rejected"]) == (1, 0, len(packets))
    expected = f"are of the codec '{codec}'; H.264 and H.265 are read"
    assert ("come before the first key frame" if codec == "h264" else expected) in capsys.readouterr().err


def test_a_video_without_a_frame_keeps_neither_packets_nor_ground_truth(tmp_path):
    packets = [(index, random.Random(index).randbytes(20_000)) for index in range(300)]
    frames = frames_of(video_bag(tmp_path / "bag", packets, storage="sqlite3", truths=300))
    tracemalloc.start()
    try:
        assert list(frames) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert frames.rejected == 300
    assert peak < 1_000_000  # the packets are 6 MB, the label images 1.4 MB


@pytest.mark.parametrize(("encoder", "codec"), [("libx264", "h264"), ("libx265", "h265")])
def test_rotten_packets_are_counted_whatever_is_wrong_with_them(tmp_path, capfd, encoder, codec):
    packets = encoded(encoder, {**PLAIN, "x265-params": "log-level=none"})
    for seed in range(8):
        chance = random.Random(seed)
        rotten = []
        for index, data in packets:
            changed, fate = bytearray(data), chance.random()
            for _ in range(chance.randrange(1, 20) if fate < 0.3 else 0):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            if fate < 0.9:
                rotten.append((index, bytes(changed if fate < 0.8 else changed[: chance.randrange(len(changed))])))
        frames = frames_of(video_bag(tmp_path / f"{seed}", rotten, codec=codec, truths=0))
        assert len(list(frames)) == frames.frames
        assert frames.frames + frames.rejected == len(rotten), f"seed {seed}"
    assert capfd.readouterr().err == ""


def test_a_camera_s_images_come_before_its_video(tmp_path):
    bag = video_bag(tmp_path / "video", encoded()[:2], topic="/front/image/ffmpeg")
    assert DriveTopics.choose(BagReader(bag)) == DriveTopics("/front/image/ffmpeg", "/front/label_ground_truth", None)
    both = record(tmp_path / "both", 2)
    (next(bag.glob("*.mcap"))).rename(both / "both_1.mcap")
    (both / "metadata.yaml").unlink()
    assert DriveTopics.choose(BagReader(both)).image == "/front/image"
    assert DriveTopics.choose(BagReader(both)).others == ("/front/image/ffmpeg",)


def test_the_node_is_not_played_a_video(tmp_path, evaluate):
    with pytest.raises(QueryDiffError, match=r"The node reads images, and /front/video is video: evaluate it without"):
        evaluate(video_bag(tmp_path / "bag", encoded()[:2]), "--online")
