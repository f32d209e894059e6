"""Compressed pictures as drivers really send them: mosaics, bytes behind the end, TIFF, and every kind of damage.

QUERYDIFF_MUTATIONS sets how many damaged messages of each kind are tried; the suite tries few, a long run many.
"""

import array
import os
import random

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from querydiff_ros.common.compressed_images import rgb_from_compressed
from querydiff_ros.common.image_conversions import BadFrame, image_message, rgb_from_image

MUTATIONS = int(os.environ.get("QUERYDIFF_MUTATIONS", "300"))
FLAT = np.zeros((32, 48, 3), np.uint8)
FLAT[:, :24], FLAT[:, 24:] = (200, 30, 30), (30, 30, 200)
MOSAIC = FLAT[..., 1].copy()  # RGGB
MOSAIC[0::2, 0::2], MOSAIC[1::2, 1::2] = FLAT[0::2, 0::2, 0], FLAT[1::2, 1::2, 2]


def encoded(suffix, pixels, *options):
    return cv2.imencode(suffix, pixels, options)[1].tobytes()


JPEG, PNG = encoded(".jpg", FLAT[..., ::-1]), encoded(".png", FLAT[..., ::-1])
PROGRESSIVE = encoded(".jpg", FLAT[..., ::-1], cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


def message(data, stated="rgb8; jpeg compressed bgr8"):
    return CompressedImage(format=stated, data=array.array("B", data))


def error(seen, expected=FLAT):
    """Return the mean difference off the seams, where interpolation mixes colours."""
    inner = np.r_[4:20, 28:44]
    return np.abs(seen[4:-4, inner].astype(int) - expected[4:-4, inner]).mean()


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("target", ["", " ", "bayer_rggb8"])
def test_a_mosaic_inside_a_picture_is_demosaiced(suffix, target):
    data = encoded(suffix, MOSAIC, *([cv2.IMWRITE_JPEG_QUALITY, 100] if suffix == ".jpg" else []))
    codec = "png" if suffix == ".png" else "jpeg"
    assert error(rgb_from_compressed(message(data, f"bayer_rggb8; {codec} compressed {target}"))) < 8


def test_a_mosaic_of_16_bits_keeps_its_upper_half():
    data = encoded(".png", MOSAIC.astype(np.uint16) * 257)
    assert error(rgb_from_compressed(message(data, "bayer_rggb16; png compressed "))) < 2


@pytest.mark.parametrize("stated", ["bayer_rggb8; jpeg compressed mono8", "mono8; jpeg compressed ", "jpeg", ""])
def test_a_grey_picture_is_not_taken_for_a_mosaic(stated):
    grey = np.full((32, 48), 90, np.uint8)
    grey[::2, ::2] = 200
    seen = rgb_from_compressed(message(encoded(".png", grey), stated))
    np.testing.assert_array_equal(seen, np.dstack([grey] * 3))


def test_a_colour_picture_of_a_camera_with_a_mosaic_stays_as_it_is():
    for factor, kind in ((1, np.uint8), (256, np.uint16)):
        data = encoded(".png", FLAT[..., ::-1].astype(kind) * kind(factor))
        seen = rgb_from_compressed(message(data, "bayer_rggb8; png compressed "))
        np.testing.assert_array_equal(seen, FLAT)
        assert seen.dtype == np.uint8


TAILS = {
    "zeros": b"\0" * 4000,
    "an old buffer": np.random.default_rng(3).integers(1, 250, 700, np.uint8).tobytes(),
    "one byte": b"\x7f",
    "a second end": b"\xff\xd9",
    "fill bytes": b"\xff" * 16,
    "a small picture": encoded(".jpg", FLAT[::4, ::4]) + b"\1\2",
    "half a picture": JPEG[: len(JPEG) // 2],
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("picture", [JPEG, PROGRESSIVE, PNG])
def test_what_lies_behind_the_end_of_a_picture_does_not_matter(picture, tail, capfd):
    np.testing.assert_array_equal(
        rgb_from_compressed(message(picture + TAILS[tail])), rgb_from_compressed(message(picture))
    )
    assert capfd.readouterr().err == ""


def test_a_picture_cut_short_is_refused_although_its_thumbnail_is_whole():
    thumbnail = encoded(".jpg", FLAT[::4, ::4])
    header = b"\xff\xd8\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    assert error(rgb_from_compressed(message(header + JPEG[2:]))) < 8
    with pytest.raises(BadFrame, match="is truncated"):
        rgb_from_compressed(message((header + JPEG[2:])[:-20]))


@pytest.mark.parametrize("at", [8, 33, -12])  # the header's length, that of the pixels, that of the end
def test_a_png_whose_chunk_claims_more_than_there_is_is_refused_unopened(at):
    data = bytearray(PNG)
    data[at : at + 4] = (2**31 - 1).to_bytes(4, "big")  # for which OpenCV would take 2 GB
    with pytest.raises(BadFrame, match="is truncated"):
        rgb_from_compressed(message(data))


def test_tiff_opens_and_half_a_tiff_does_not():
    tiff = encoded(".tiff", FLAT[..., ::-1])
    np.testing.assert_array_equal(rgb_from_compressed(message(tiff, "rgb8; tiff compressed ")), FLAT)
    with pytest.raises(BadFrame):
        rgb_from_compressed(message(tiff[: len(tiff) // 2], "rgb8; tiff compressed "))


def damaged(data, random_):
    changed = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        at, size = random_.randrange(len(changed)), random_.choice([1, 1, 2, 8])
        changed[at : at + random_.choice([0, size])] = random_.randbytes(random_.choice([0, size, size]))
        changed = changed or bytearray(1)
    return bytes(changed)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff"])
def test_damaged_pictures_give_pixels_or_a_reason_and_leave_the_log_alone(suffix, capfd):
    data = encoded(suffix, FLAT)
    for seed in range(MUTATIONS):
        try:
            seen = rgb_from_compressed(message(damaged(data, random.Random(seed)), "bayer_rggb8; x compressed "))
        except BadFrame:
            continue
        assert seen.dtype == np.uint8
        assert seen.shape[2] == 3
    assert capfd.readouterr().err == ""


def test_damaged_raw_images_give_pixels_or_a_reason():
    for seed in range(MUTATIONS):
        chosen = random.Random(seed)
        raw: Image = image_message(FLAT, "rgb8", Image().header)
        raw.encoding = chosen.choice(["rgb8", "mono16", "nv12", "32FC3", "bayer_rggb16", "yuyv", "rgb9", ""])
        for name in ("height", "width", "step", "is_bigendian"):
            if chosen.random() < 0.5:
                setattr(raw, name, chosen.choice([0, 1, 2, 32, 48, 144, 255]))
        raw.data = array.array("B", damaged(bytes(raw.data[: chosen.choice([0, 96, 2304, 4608])] or b"\0"), chosen))
        try:
            assert rgb_from_image(raw).dtype == np.uint8
        except BadFrame:
            continue


def test_what_others_write_to_stderr_meanwhile_is_kept(capfd, monkeypatch):
    real = cv2.imdecode

    def talking(*arguments):
        os.write(2, b"libpng warning: iCCP\na line of ours\n")
        return real(*arguments)

    monkeypatch.setattr(cv2, "imdecode", talking)
    rgb_from_compressed(message(JPEG))
    assert capfd.readouterr().err == "a line of ours\n"
