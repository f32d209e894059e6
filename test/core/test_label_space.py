import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import UNLABELLED, bundled_mappings, cityscapes, label_mapping
from querydiff_core.utils.overlay import overlay


def test_cityscapes_has_the_published_classes():
    space = cityscapes()
    assert len(space) == 19
    assert (space.names[0], space.palette[0]) == ("road", (128, 64, 128))
    assert (space.names[18], space.palette[18]) == ("bicycle", (119, 11, 32))
    assert len(set(space.palette)) == 19


@given(st.lists(st.integers(0, 255), min_size=1, max_size=50))
def test_paint_is_the_palette(values):
    labels = np.array(values, np.uint8)[None]
    painted = cityscapes().paint(labels)
    for label, color in zip(values, painted[0], strict=True):
        assert tuple(color) == (cityscapes().palette[label] if label < 19 else (0, 0, 0))


@pytest.mark.parametrize("name", bundled_mappings())
def test_every_bundled_mapping_maps_to_classes_and_scores_each_once(name):
    mapping = label_mapping(name)
    assert set(np.unique(mapping.table)) <= {*range(19), UNLABELLED}
    scored = [train_id for _, ids in mapping.score_classes for train_id in ids]
    assert len(scored) == len(set(scored))
    assert set(np.unique(mapping.table)) - {UNLABELLED} <= set(scored)


def test_mappings_hold_the_published_ids():
    assert label_mapping("cityscapes_label_ids")(np.uint8([7, 33, 0, 34, 255])).tolist() == [0, 18, 255, 255, 255]
    assert label_mapping("carla")(np.uint8([1, 19, 24, 0, 22])).tolist() == [0, 18, 0, 255, 255]
    assert label_mapping("carla_0_9_13")(np.uint8([7, 10, 13, 3])).tolist() == [0, 13, 10, 255]
    assert label_mapping("camvid")(np.uint8([0, 3, 11])).tolist() == [10, 0, 255]
    camvid = label_mapping("camvid")
    assert [camvid.score_classes[i][0] for i in camvid.score_table[[2, 3, 17, 15]]] == [
        "building",
        "building",
        "bicyclist",
        "car",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("to_train_id: {300: 1}", "300"),
        ("to_train_id: {3: 19}", "19"),
        ("to_train_id: [1, 2]", "to_train_id"),
        ("nonsense", "expected a YAML mapping"),
        ("a: [", "not valid YAML"),
        ("other: {}", "to_train_id"),
        ("to_train_id: {1: 0}\nunlabeled: [3]", "unknown key unlabeled, expected some of .*unlabelled"),
        ("to_train_id: {1: 0}\nunlabelled: [256]", "256"),
        ("to_train_id: {1: 0}\ncolors: {1: [1, 2]}", "to_train_id"),
        ("to_train_id: {1: 0}\ncolors: {1: [9, 9, 9], 5: [1, 2, 3]}", "`colors` paints value 5"),
    ],
)
def test_a_wrong_mapping_is_one_sentence(tmp_path, text, says):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(QueryDiffError, match=says) as failure:
        label_mapping(file)
    assert "\n" not in str(failure.value)


def test_a_mapping_knows_which_values_its_labels_have():
    mapping = label_mapping("cityscapes_label_ids")
    assert [int(mapping.known[value]) for value in (0, 7, 34, 35, 254, 255)] == [1, 1, 1, 0, 0, 1]


def test_an_unknown_mapping_names_the_known_ones():
    with pytest.raises(QueryDiffError, match="camvid"):
        label_mapping("kitti")


def test_an_overlay_painted_into_given_memory_is_the_same() -> None:
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (6, 8, 3), np.uint8), rng.integers(0, 19, (6, 8), np.uint8)
    out = np.full_like(image, 9)
    painted = overlay(image, labels, cityscapes(), 0.3, out)
    assert np.array_equal(painted, overlay(image, labels, cityscapes(), 0.3))
    assert np.array_equal(painted, out)
    expected = 0.7 * image + 0.3 * np.array(cityscapes().palette)[labels]
    assert np.abs(painted - expected).max() <= 1
