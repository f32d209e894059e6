"""Labels lie where the paint does, and only there."""

import numpy as np
import pytest

from querydiff_core.street_scenes.image.camera import Camera
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import FENCE, NOTHING, SKY, VOID
from querydiff_core.street_scenes.things.barriers import RAIL, Barrier
from querydiff_core.street_scenes.things.big_vehicles import BigVehicle
from querydiff_core.street_scenes.things.cycles import cycle_sprite
from querydiff_core.street_scenes.things.foliage import BUSHES, tree_sprite
from querydiff_core.street_scenes.things.people import person_sprite
from querydiff_core.street_scenes.things.signs import sign_sprite
from querydiff_core.street_scenes.weather import draw_weather
from querydiff_core.street_scenes.world.ground import centre_line
from querydiff_core.street_scenes.world.street import draw_street

SPRITES = {
    "person": person_sprite(3, 0, 0),
    "rider": cycle_sprite(3, False, True, 0, 0),
    "sign": sign_sprite(1),
}


@pytest.mark.parametrize("height", [20, 40, 300])
@pytest.mark.parametrize("name", SPRITES)
def test_labels_of_sprites_lie_on_their_paint_at_any_size(name, height):
    sprite = SPRITES[name]
    width = max(round(height * sprite.alpha.shape[1] / sprite.alpha.shape[0]), 1)
    piece = sprite.piece((width, height), (0, 0, width, height))
    labelled, painted = piece.labels != NOTHING, piece.alpha > 127
    assert (labelled & painted).sum() > 0.82 * (labelled | painted).sum()
    shift = np.argwhere(labelled).mean(0) - np.argwhere(painted).mean(0)
    assert np.abs(shift).max() < 0.02 * height + 0.3


def test_labels_reduced_are_those_with_the_largest_share():
    """Where two labels meet, a pixel that both half cover keeps one of them."""
    sprite = SPRITES["rider"]
    small = sprite.half
    assert set(np.unique(small.labels)) == set(np.unique(sprite.labels))
    covered = (sprite.labels != NOTHING)[: 2 * len(small.labels), : 2 * small.labels.shape[1]]
    share = covered.reshape(len(small.labels), 2, -1, 2).mean((1, 3))
    assert np.array_equal(small.labels != NOTHING, share >= 0.5)


def painted_alone(thing) -> np.ndarray:
    canvas = Canvas(Camera(512, 256, 300.0, (0, 1.5, 0)))
    canvas.labels[:] = SKY
    thing.draw(canvas, draw_weather("clear", 0))
    return canvas.labels


def test_nothing_floats_above_lorries():
    for index in range(24):
        labels = painted_alone(BigVehicle(np.array([0.0, 0, 12 + index]), 0.0, "truck", index))
        rows = np.flatnonzero((labels != SKY).any(1))
        assert len(rows) == rows[-1] - rows[0] + 1, index
        alone = (labels[1:-1] != SKY) & (labels[:-2] == SKY) & (labels[2:] == SKY)
        assert alone.sum() < 8, index


def test_crash_barriers_are_unlabelled_and_other_fences_are_not():
    for index in range(8):
        ends = np.array([2.0, 0, 4]), np.array([2.0, 0, 20])
        labels = painted_alone(Barrier(*ends, "fence", index, 0, 0.8))
        assert set(np.unique(labels)) == {SKY, VOID if index % 4 == RAIL else FENCE}


def test_trees_stand_on_the_ground():
    for index in range(BUSHES, BUSHES + 40):
        rows = np.flatnonzero((tree_sprite(index, False).labels != NOTHING).any(1))
        assert rows[-1] > 0.97 * len(tree_sprite(index, False).labels)


def test_the_centre_line_has_no_steps():
    street = next(s for s in map(draw_street, range(50)) if abs(np.ptp(s.centre(np.arange(100.0)))) > 5)
    z = np.linspace(3, 90, 5000).astype(np.float32).reshape(50, 100)
    assert np.abs(centre_line(street, z) - street.centre(z)).max() < 0.02
