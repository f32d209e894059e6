"""`querydiff scenes` end to end, through the real command."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader

from querydiff_core.street_scenes import render_drive, render_scene
from querydiff_core.street_scenes.scene_folder import SceneFolder

SIZE = "64x96"


def scenes(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("querydiff")
    return subprocess.run(
        [command, "scenes", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def test_images_writes_a_data_set_that_can_be_resumed(tmp_path):
    wanted = ["images", "--output", tmp_path / "set", "--image-size", SIZE, "--seed", 7, "--conditions", "fog,night"]
    first = scenes(*wanted, "--count", 3, "--workers", 2)
    assert first.returncode == 0, first.stderr
    names = sorted(file.name for file in (tmp_path / "set").rglob("*.*g"))
    assert names == ["fog_0000007.jpg", "fog_0000007.png", "fog_0000009.jpg", "fog_0000009.png",
                     "night_0000008.jpg", "night_0000008.png"]  # fmt: skip
    labels = cv2.imread(str(tmp_path / "set/labels/night_0000008.png"), cv2.IMREAD_UNCHANGED)
    scene = render_scene(8, (64, 96), "night")
    assert np.array_equal(labels, scene.labels)
    image = cv2.imread(str(tmp_path / "set/images/night_0000008.jpg"))[..., ::-1]
    assert np.abs(image.astype(int) - scene.image).mean() < 8
    recipe = yaml.safe_load((tmp_path / "set/dataset.yaml").read_text())
    assert (recipe["size"], recipe["seed"], recipe["conditions"]) == ([64, 96], 7, ["fog", "night"])

    kept = (tmp_path / "set/images/fog_0000007.jpg").stat().st_mtime_ns
    (tmp_path / "set/labels/night_0000008.png").unlink()
    assert scenes(*wanted, "--count", 4, "--workers", 1).returncode == 0
    assert (tmp_path / "set/images/fog_0000007.jpg").stat().st_mtime_ns == kept
    assert (tmp_path / "set/labels/night_0000008.png").is_file()
    assert (tmp_path / "set/images/night_0000010.jpg").is_file()


def test_a_folder_of_other_scenes_is_left_alone(tmp_path):
    list(SceneFolder(tmp_path, 1, (32, 64)).write())
    refused = scenes("images", "--output", tmp_path, "--count", 1, "--image-size", SIZE)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "holds scenes with size [32, 64], asked for [64, 96]" in refused.stderr


def test_drive_writes_a_bag_with_images_labels_and_conditions(tmp_path):
    made = scenes(
        "drive", "--output", tmp_path / "bag", "--frames", 4, "--image-size", SIZE, "--conditions", "clear,snow"
    )
    assert made.returncode == 0, made.stderr
    with AnyReader([tmp_path / "bag"]) as reader:
        messages = [(c.topic, reader.deserialize(raw, c.msgtype)) for c, _, raw in reader.messages()]
    by_topic: dict[str, list] = {}
    for topic, message in messages:
        by_topic.setdefault(topic, []).append(message)
    assert [m.data for m in by_topic["/condition"]] == ["clear", "snow"]
    assert len(by_topic["/front/image/compressed"]) == len(by_topic["/front/camera_info"]) == 4
    frames = list(render_drive(0, 4, (64, 96), 10.0, ["clear", "snow"]))
    for message, frame in zip(by_topic["/front/label_ground_truth"], frames, strict=True):
        assert np.array_equal(message.data.reshape(64, 96), frame.labels)
    assert by_topic["/front/camera_info"][0].k[0] == pytest.approx(frames[0].camera_info.focal_length)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["images", "--image-size", "64"],
            "error: The size must be HEIGHTxWIDTH of at least 32 pixels each, such as 256x512, found '64'.",
        ),
        (
            ["images", "--image-size", "8x8"],
            "error: The size must be HEIGHTxWIDTH of at least 32 pixels each, such as 256x512, found '8x8'.",
        ),
        (["images", "--count", "0"], "error: The number of scenes must be 1 or more, found 0."),
        (["images", "--seed", "-3"], "error: The seed must be 0 or more, found -3."),
        (["images", "--conditions", "clear,hail"], "error: No condition 'hail': expected one of clear, fog, night"),
        (["drive", "--frames", "0"], "error: A drive needs at least 1 frame and a rate above 0 Hz, found 0 and 10."),
        (["drive", "--camera", "fr ont"], "error: Camera 'fr ont' is no ROS name"),
    ],
)
def test_bad_arguments_give_one_sentence_and_write_nothing(tmp_path, arguments, sentence):
    refused = scenes(*arguments, "--output", tmp_path / "out")
    assert refused.returncode == 1
    assert refused.stderr.startswith(sentence)
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_gives_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused = scenes("images", "--output", tmp_path / "file" / "set", "--count", 1, "--image-size", SIZE)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "Cannot write" in refused.stderr


def test_help_gives_an_example():
    assert "example: querydiff scenes drive --output" in scenes("drive", "--help").stdout
