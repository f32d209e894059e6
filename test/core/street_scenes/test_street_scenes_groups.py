"""The groups of the third version: each shows, none is needed, and rare classes are less rare with them."""

from functools import cache

import cv2
import numpy as np
import pytest

from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes import render_scene
from querydiff_core.street_scenes.groups import GROUPS
from querydiff_core.street_scenes.image.camera import Camera
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import (
    BUS,
    MOTORCYCLE,
    RIDER,
    SIDEWALK,
    TERRAIN,
    TRAFFIC_LIGHT,
    TRAFFIC_SIGN,
    TRAIN,
    TRUCK,
    VOID,
)
from querydiff_core.street_scenes.scene_folder import SceneFolder
from querydiff_core.street_scenes.things.big_vehicles import BIG_VEHICLES, TRAFFIC, BigVehicle, body_size
from querydiff_core.street_scenes.things.signals import BACK, HOUSINGS, RED, Signal
from querydiff_core.street_scenes.things.signs import BOARDS, MORE_SIGNS, SIGNS, SignMast
from querydiff_core.street_scenes.weather import draw_weather
from querydiff_core.street_scenes.world.street import draw_street

SMALL = (96, 192)
FOCAL = 200.0


def drawn(thing):
    canvas = Canvas(Camera(256, 192, FOCAL, (0.0, 1.4, 0.0)))
    thing.draw(canvas, draw_weather("clear", 4))
    return canvas


@cache
def with_all_groups(seed: int):
    return render_scene(seed, SMALL, "snow")


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_shows_in_scenes_and_the_weather_leaves_the_labels(group):
    without = [name for name in GROUPS if name != group]
    pairs = [(with_all_groups(seed), render_scene(seed, SMALL, "snow", without)) for seed in range(5)]
    assert max(np.abs(a.image.astype(int) - b.image).mean() for a, b in pairs) > 1
    changed = np.mean([(a.labels != b.labels).mean() for a, b in pairs])
    assert changed == 0 if group == "weather" else changed > 0.0005


def test_rare_classes_have_half_as_many_pixels_again_with_the_groups():
    rare = [TRAFFIC_LIGHT, TRAFFIC_SIGN, TERRAIN, RIDER, TRUCK, BUS, TRAIN, MOTORCYCLE]
    counts = np.zeros((2, 256))
    for seed in range(40):
        for row, groups in enumerate(((), GROUPS)):
            counts[row] += np.bincount(render_scene(seed, (64, 128), "clear", groups).labels.ravel(), minlength=256)
    gain = counts[1, rare] / counts[0, rare]
    assert np.exp(np.log(gain).mean()) > 1.5, gain


def test_no_day_is_black_or_white():
    means = [render_scene(seed, (64, 128), "clear").image.mean() for seed in range(30)]
    assert min(means) > 25
    assert max(means) < 215


def test_a_group_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(QueryDiffError, match=r"No group 'hills' of street scenes: expected one of roads"):
        render_scene(0, SMALL, groups=["hills"])
    with pytest.raises(QueryDiffError, match="No group 'hills'"):
        SceneFolder(tmp_path, 1, groups=("hills",))


def test_roads_differ_in_lanes_medians_and_kerbs():
    streets = [draw_street(seed, GROUPS) for seed in range(200)]
    assert {street.lanes for street in streets} == {1, 2, 4, 6}
    shares = {name: np.mean([bool(getattr(s, name)) for s in streets]) for name in ("median", "soft", "fast")}
    assert all(0.08 < share < 0.5 for share in shares.values()), shares
    for street in streets:
        lanes = [street.lane(number) for number in range(max(street.lanes // 2, 1))]
        assert lanes[-1] + street.lane_width / 2 < street.half_width or street.lanes == 1
        assert street.lanes == 1 or lanes[0] >= street.median / 2 + 0.49 * street.lane_width


@pytest.mark.parametrize("housing", range(HOUSINGS))
def test_lights_stand_where_they_should_and_belong_to_the_light_from_all_sides(housing):
    for state in (RED, BACK):
        canvas = drawn(Signal(np.array([1.0, 0.0, 10.0]), 3.2, housing, state, 90.0, -4.0, 5.0, (1.0, 0.5)))
        count, _, boxes, _ = cv2.connectedComponentsWithStats((canvas.labels == TRAFFIC_LIGHT).astype(np.uint8))
        assert count == 4  # one on the post, two on the arm, and what is none
        assert sorted(np.round((boxes[1:, 0] + boxes[1:, 2] / 2 - 127.5) * 10 / FOCAL)) == [-3, -1, 1]
        assert all(0.3 < max(box[2:4]) * 10 / FOCAL < 1.7 for box in boxes[1:])


def test_signs_are_signs_from_the_front_and_unlabelled_from_behind():
    for kind in (*range(SIGNS, MORE_SIGNS, 7), *BOARDS[:5]):
        front, back = (
            drawn(SignMast(np.array([0.5, 0.0, 8.0]), (kind,), (1.0,), 2.5, seen)).labels for seen in (False, True)
        )
        assert (front == TRAFFIC_SIGN).sum() > 100
        assert not (back == TRAFFIC_SIGN).any()
        assert ((front == TRAFFIC_SIGN) <= (back == VOID)).all()


@pytest.mark.parametrize("family", sorted({*TRAFFIC, "tram"}))
@pytest.mark.parametrize("yaw", [0.0, np.pi, 0.5])
def test_vehicles_of_every_family_are_one_piece_as_tall_as_their_size_says(family, yaw):
    for kind in (1, BIG_VEHICLES + 2):
        labels = drawn(BigVehicle(np.array([3.0, 0.0, 30.0]), yaw, family, kind)).labels
        label = {"bus": BUS, "coach": BUS, "minibus": BUS, "tram": TRAIN}.get(family, TRUCK)
        assert set(np.unique(labels)) <= {label, VOID}
        rows = np.flatnonzero((labels == label).any(axis=1))
        _, height, length = body_size(family, kind)
        assert 0.6 * height * FOCAL / 31 < np.ptp(rows) < 1.1 * height * FOCAL / (30 - length / 2)


def test_sidewalks_are_greyer_than_what_lies_beside_them():
    """Gravel beside a sidewalk taught a network that pale slabs are terrain."""
    town = [seed for seed in range(19, 59) if not draw_street(seed, ("roads",)).soft]
    seen = 0
    for seed in town:
        scene = render_scene(seed, SMALL, "clear", ("roads",))
        sidewalk, verge = (scene.image[scene.labels == label] for label in (SIDEWALK, TERRAIN))
        if min(len(sidewalk), len(verge)) > 100:
            paving, grass = (np.median(pixels, 0) for pixels in (sidewalk, verge))
            seen += 1
            assert np.ptp(grass) / grass.max() > np.ptp(paving) / paving.max() + 0.1, seed
    assert seen > 8


def test_roads_are_darker_than_the_verge_where_snow_is_ploughed():
    contrasts = []
    for seed in range(16):
        scene = render_scene(seed, SMALL, "snow", ("roads", "weather"))
        road, verge = (scene.image[scene.labels == label] for label in (0, TERRAIN))
        if len(verge) > 200:
            contrasts.append(verge.mean() - road.mean())
    assert np.median(contrasts) > 20, contrasts


def test_a_folder_of_the_second_version_is_kept_and_not_mixed(tmp_path):
    list(SceneFolder(tmp_path, 2, (32, 64), groups=()).write())
    recipe = tmp_path / "dataset.yaml"
    recipe.write_text("".join(line for line in recipe.read_text().splitlines(True) if "groups" not in line))
    before = recipe.read_bytes()
    assert list(SceneFolder(tmp_path, 2, (32, 64)).write()) == [2]
    assert recipe.read_bytes() == before
    with pytest.raises(QueryDiffError, match=r"holds scenes with groups \[\], asked for \['roads'"):
        list(SceneFolder(tmp_path, 3, (32, 64)).write())
