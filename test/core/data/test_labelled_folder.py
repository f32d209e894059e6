"""Pairs of image and label files, and what is said when they do not pair."""

import cv2
import numpy as np
import pytest

from querydiff_core.data.labelled_folder import LabelledFolder
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import label_mapping

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
LABELS = (np.arange(24, dtype=np.uint8) % 12).reshape(4, 6)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[..., ::-1])


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("a.png", "a.png"),
        ("0001TP_a.png", "0001TP_a_L.png"),
        ("bonn/bonn_0_1_leftImg8bit.png", "bonn/bonn_0_1_gtFine_labelIds.png"),
        ("GP010476/GP010476_frame_000054_rgb_anon.png", "GP010476/GP010476_frame_000054_gt_labelTrainIds.png"),
        ("a.bmp", "a_train_id.png"),
    ],
)
def test_pairs_by_name_and_returns_rgb_and_train_ids(tmp_path, image, labels):
    write(tmp_path / "images" / image, IMAGE)
    write(tmp_path / "labels" / labels, LABELS)
    write(tmp_path / "labels" / labels.replace("label", "color").replace(".png", "_instanceIds.png"), LABELS)
    mapping = label_mapping("camvid")
    folder = LabelledFolder(tmp_path / "images", tmp_path / "labels", mapping)
    assert len(folder) == 1
    pair = folder[0]
    np.testing.assert_array_equal(pair.image, IMAGE)
    np.testing.assert_array_equal(pair.labels, mapping(LABELS))
    assert pair.stem == image.rsplit(".", 1)[0]


def test_a_root_holds_images_and_labels_in_order(tmp_path):
    for number, name in enumerate(("c.png", "a.png", "b.png")):
        write(tmp_path / "images" / name, np.full((2, 2, 3), number, np.uint8))
        write(tmp_path / "labels" / name, np.full((2, 2), number, np.uint8))
    pairs = list(LabelledFolder(tmp_path))
    assert [pair.stem for pair in pairs] == ["a", "b", "c"]
    assert [int(pair.labels[0, 0]) for pair in pairs] == [1, 2, 0]
    assert [int(pair.image[0, 0, 0]) for pair in pairs] == [1, 2, 0]


def test_images_alone_have_no_labels(tmp_path):
    write(tmp_path / "x.png", IMAGE)
    assert LabelledFolder(tmp_path)[0].labels is None


def test_values_without_a_class_are_unlabelled(tmp_path):
    write(tmp_path / "images" / "a.png", IMAGE)
    write(tmp_path / "labels" / "a.png", np.full((4, 6), 77, np.uint8))
    assert (LabelledFolder(tmp_path)[0].labels == 255).all()


def test_what_does_not_pair_is_named(tmp_path):
    write(tmp_path / "images" / "a.png", IMAGE)
    with pytest.raises(QueryDiffError, match=r"No folder .*nowhere"):
        LabelledFolder(tmp_path / "images", tmp_path / "nowhere")
    (tmp_path / "labels").mkdir()
    with pytest.raises(QueryDiffError, match="holds no image"):
        LabelledFolder(tmp_path)
    write(tmp_path / "labels" / "b.png", LABELS)
    with pytest.raises(QueryDiffError, match=r"a\.png: expected one label image named a in .*none among 1 files"):
        LabelledFolder(tmp_path)
    write(tmp_path / "labels" / "a_labelIds.png", LABELS)
    write(tmp_path / "labels" / "a_labelTrainIds.png", LABELS)
    with pytest.raises(QueryDiffError, match=r"found a_labelIds\.png and a_labelTrainIds\.png"):
        LabelledFolder(tmp_path)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (IMAGE, "one channel"),
        (LABELS[:2], r"labels are 6 x 2 and their image is 6 x 4"),
    ],
)
def test_labels_of_the_wrong_kind_are_refused(tmp_path, labels, sentence):
    write(tmp_path / "images" / "a.png", IMAGE)
    write(tmp_path / "labels" / "a.png", labels)
    with pytest.raises(QueryDiffError, match=sentence):
        LabelledFolder(tmp_path)[0]


def test_sixteen_bit_labels_are_read(tmp_path):
    write(tmp_path / "images" / "a.png", IMAGE)
    write(tmp_path / "labels" / "a.png", LABELS.astype(np.uint16))
    np.testing.assert_array_equal(LabelledFolder(tmp_path)[0].labels, LABELS)


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(QueryDiffError, match=r"a\.png cannot be decoded"):
        LabelledFolder(tmp_path)[0]
