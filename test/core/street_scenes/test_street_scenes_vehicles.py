"""Vehicles of street scenes: what is drawn is labelled, whole and as large as it should be."""

import cv2
import numpy as np
import pytest

from querydiff_core.street_scenes.image.camera import Camera
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import BUS, CAR
from querydiff_core.street_scenes.things.big_vehicles import BigVehicle, body_size
from querydiff_core.street_scenes.things.car_shapes import CARS, car_mesh
from querydiff_core.street_scenes.things.vehicles import Car
from querydiff_core.street_scenes.weather import draw_weather

FOCAL = 200.0


def drawn(vehicle):
    canvas = Canvas(Camera(256, 192, FOCAL, (0.0, 1.4, 0.0)))
    canvas.color[:] = (120, 120, 120, 0)
    vehicle.draw(canvas, draw_weather("clear", 4))
    return canvas


@pytest.mark.parametrize("yaw", [0.0, np.pi, np.pi / 2, 0.7])
def test_every_car_is_one_piece_of_its_label(yaw):
    for kind in range(CARS):
        canvas = drawn(Car(np.array([0.0, 0.0, 9.0]), yaw, kind, kind, True, False))
        pieces, _ = cv2.connectedComponents((canvas.labels == CAR).astype(np.uint8))
        assert pieces == 2, kind


def test_a_car_from_behind_is_as_wide_and_tall_as_its_mesh():
    for kind in range(0, CARS, 7):
        mesh = car_mesh(kind)
        rows, columns = np.nonzero(drawn(Car(np.array([0.0, 0.0, 9.0]), 0.0, kind, 0, True, False)).labels == CAR)
        near = 9.0 - mesh.length / 2
        assert mesh.width * FOCAL / 9.0 * 0.9 < np.ptp(columns) < (mesh.width + 0.5) * FOCAL / near, kind
        assert mesh.height * FOCAL / 9.0 * 0.85 < np.ptp(rows) < mesh.height * FOCAL / near * 1.1, kind


def test_some_buses_have_two_decks():
    heights = [body_size("bus", kind)[1] for kind in range(24)]
    assert min(heights) < 3.3
    assert max(heights) > 3.9
    tall, low = (int(pick(heights)) for pick in (np.argmax, np.argmin))
    seen = [
        np.ptp(np.nonzero(drawn(BigVehicle(np.array([0.0, 0.0, 25.0]), 0.0, "bus", kind)).labels == BUS)[0])
        for kind in (tall, low)
    ]
    assert seen[0] > 1.15 * seen[1]
