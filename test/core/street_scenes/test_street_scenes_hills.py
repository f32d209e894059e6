"""Hills: the flat world of a street is lifted as it is seen, and the ground is met where it is seen."""

import numpy as np
import pytest

from querydiff_core.street_scenes.image.camera import Camera
from querydiff_core.street_scenes.scene import _draw_camera
from querydiff_core.street_scenes.world.street import draw_street


@pytest.mark.parametrize("hill", [0.0, 1 / 800, 1 / 3000, -1 / 4500])
def test_the_ground_is_met_where_it_is_seen(hill):
    camera = Camera(576, 320, 400.0, (0.3, 1.15, 50.0), yaw=0.05, pitch=0.03, roll=0.01, hill=hill)
    first, x, z, depth = camera.ground()
    near = depth < 200
    points = np.stack([x[near], np.zeros(near.sum()), z[near]], axis=1).astype(np.float64)
    rows, columns = np.nonzero(near)
    pixels = camera.to_pixels(camera.see(points))
    assert len(points) > 80_000
    assert np.abs(pixels - np.stack([columns, rows + first], axis=1)).max() < 0.01
    assert camera.locate(points[0]) == pytest.approx([*pixels[0], camera.see(points[:1])[0, 2]], abs=1e-6)
    assert bool(camera.horizon_at(150.0) < camera.horizon) is (hill > 0)


def test_some_roads_climb_and_some_fall_and_their_houses_with_them():
    cameras = [_draw_camera(draw_street(seed), (64, 128), np.random.default_rng(seed)) for seed in range(200)]
    assert 0.1 < np.mean([camera.hill > 0 for camera in cameras]) < 0.3
    assert 0.07 < np.mean([camera.hill < 0 for camera in cameras]) < 0.25
    foot = np.array([[0.0, 0.0, 60.0]])
    up, flat = (Camera(576, 320, 400.0, (0.0, 1.5, 0.0), hill=hill) for hill in (1 / 1000, 0.0))
    assert up.see(foot)[0, 1] == pytest.approx(flat.see(foot)[0, 1] - 0.5 * 60**2 / 1000)
