"""Single street scenes: determinism, classes, conditions, sizes."""

import numpy as np
import pytest

from querydiff_core.data.data_source import DataSource
from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes import CONDITIONS, render_drive, render_scene
from querydiff_core.street_scenes.scene_folder import SceneFolder

SMALL = (96, 192)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_same_seed_gives_the_same_bytes(condition):
    first, second = (render_scene(11, SMALL, condition) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)


def test_other_seeds_give_other_streets():
    first, second = render_scene(11, SMALL, "clear"), render_scene(12, SMALL, "clear")
    assert (first.labels != second.labels).mean() > 0.1


def test_all_classes_appear_and_no_value_is_foreign():
    seen = np.zeros(256, bool)
    for seed in range(80):
        seen[np.unique(render_scene(seed, (128, 256)).labels)] = True
        if seen[:19].all():
            break
    assert seen[:19].all(), f"missing classes {np.flatnonzero(~seen[:19])}"
    assert not seen[19:255].any(), f"foreign labels {np.flatnonzero(seen[19:255]) + 19}"


def test_the_shares_of_classes_are_like_those_of_streets():
    counts = np.zeros(256)
    for seed in range(100, 124):
        counts += np.bincount(render_scene(seed, SMALL).labels.ravel(), minlength=256)
    road, sidewalk, building, vegetation, sky, car = 100 * counts[[0, 1, 2, 8, 10, 13]] / counts.sum()
    assert 18 < road < 42
    assert 2 < sidewalk < 15
    assert 10 < building < 35
    assert 8 < vegetation < 28
    assert 5 < sky < 25
    assert 3 < car < 16


def test_a_condition_that_is_not_given_is_drawn_from_the_seed():
    drawn = [render_scene(seed, (32, 64)).condition for seed in range(40)]
    assert set(drawn) == set(CONDITIONS)
    assert drawn == [render_scene(seed, (32, 64)).condition for seed in range(40)]


@pytest.mark.parametrize("size", [(16, 16), (64, 96), (97, 131), (300, 40), (40, 300), (480, 640)])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_any_size(size, condition):
    scene = render_scene(5, size, condition)
    assert scene.image.shape == (*size, 3)
    assert scene.image.dtype == np.uint8
    assert scene.labels.shape == size
    assert scene.labels.dtype == np.uint8
    assert scene.condition == condition


def test_ground_beyond_the_last_step_of_the_streets_profile_is_that_of_the_last_step() -> None:
    """Rounding put what lies far aside one step behind the table in a few streets."""
    labels = render_scene(400_008, (32, 64), "clear").labels
    assert labels.shape == (32, 64)


def test_weather_shows_in_the_picture_and_not_in_the_labels():
    clear = render_scene(21, SMALL, "clear")
    for condition in ("fog", "night", "rain"):
        other = render_scene(21, SMALL, condition)
        assert np.abs(other.image.astype(int) - clear.image).mean() > 8, condition
        assert np.array_equal(other.labels, clear.labels), condition


def test_nights_are_darker_and_fog_is_flatter_than_clear_days():
    pictures = {c: np.stack([render_scene(seed, SMALL, c).image for seed in range(8)]) for c in CONDITIONS}
    # Days have dark fronts and dark glass too, so that whole pictures differ less than sky and road do.
    assert pictures["night"].mean() < 0.85 * pictures["clear"].mean()
    assert pictures["fog"].std() < pictures["clear"].std()


def test_snow_whitens_the_ground():
    seeds = range(30, 38)
    clear, snow = ([render_scene(seed, SMALL, c) for seed in seeds] for c in ("clear", "snow"))

    def sidewalk(scenes):
        return np.concatenate([scene.image[scene.labels == 1] for scene in scenes]).mean()

    assert sidewalk(snow) > sidewalk(clear) + 20


def test_what_cannot_be_rendered_is_refused():
    with pytest.raises(QueryDiffError, match=r"No condition 'hail': expected one of clear"):
        render_scene(0, SMALL, "hail")
    with pytest.raises(QueryDiffError, match=r"seed must be 0 or more, found -1"):
        render_scene(-1)
    with pytest.raises(QueryDiffError, match=r"16 to 8192 pixels on each side, found 0 x 512"):
        render_scene(0, (0, 512))


def test_painted_scenes_are_clear_ones_by_another_hand_and_never_drawn() -> None:
    for seed in range(6):  # several painters
        clear, painted = (render_scene(seed, (96, 192), condition) for condition in ("clear", "painted"))
        assert painted.condition == "painted"
        assert np.array_equal(painted.labels, clear.labels)
        assert painted.image.dtype == np.uint8
        assert np.abs(painted.image.astype(int) - clear.image).mean() > 5
        assert np.array_equal(painted.image, render_scene(seed, (96, 192), "painted").image)
    assert "painted" not in CONDITIONS
    with pytest.raises(QueryDiffError, match="painted"):
        next(iter(render_drive(0, frames=1, size=(96, 192), conditions=["painted"])))


def test_painted_scenes_are_a_condition_of_the_data_set(tmp_path) -> None:
    list(SceneFolder(tmp_path, 2, (96, 192), conditions=("clear", "painted")).write())
    pairs = DataSource(str(tmp_path), "street_scenes", condition="painted").open()
    assert [pair.stem for pair in pairs] == ["images/painted_0000001"]
