"""Render the world of a street: camera, weather and moment in, picture and labels out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from querydiff_core.street_scenes.image.camera import Camera
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.cockpit import cover_with_bonnet, look_through_windscreen
from querydiff_core.street_scenes.image.labels import SKY
from querydiff_core.street_scenes.image.lighting import glare_of_sun, light_up, vary_tones
from querydiff_core.street_scenes.image.optics import Lens, meter, photograph
from querydiff_core.street_scenes.image.precipitation import drops_on_lens, fall, lay_snow, veil, wet_the_road
from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.furniture import Lamp
from querydiff_core.street_scenes.weather import Weather
from querydiff_core.street_scenes.world.ground import paint_ground
from querydiff_core.street_scenes.world.layout import block
from querydiff_core.street_scenes.world.sky import paint_sky, paint_skyline
from querydiff_core.street_scenes.world.snow import lay_used_snow
from querydiff_core.street_scenes.world.street import Street
from querydiff_core.street_scenes.world.traffic import traffic

SIGHT = 150.0
"""How many metres ahead things are drawn; the skyline stands behind."""


@dataclass(frozen=True)
class View:
    """All that a picture depends on. `bonnet`: share of the height that the own car hides below, 0 for none.

    `moment`: seeds what differs from frame to frame. `driving`: one of many frames along the road.
    """

    street: Street
    weather: Weather
    camera: Camera
    lens: Lens
    time: float
    ego_speed: float
    bonnet: float
    moment: int
    driving: bool = False


def render(view: View) -> tuple[np.ndarray, np.ndarray]:
    """Return the image uint8 `(H, W, 3)` RGB and the labels uint8 `(H, W)` of `view`."""
    canvas, weather = Canvas(view.camera), view.weather
    lamps = _paint(canvas, view)
    vary_tones(canvas, weather)
    if weather.snow > 0:
        if weather.varied:
            lay_used_snow(canvas, weather, view.street)
        else:
            lay_snow(canvas, weather, view.street.seed)
    picture = light_up(canvas, weather, lamps)
    if weather.wetness > 0:
        wet_the_road(picture, canvas, weather)
    veil(picture, canvas, weather)
    if weather.varied:
        glare_of_sun(picture, canvas, weather)
    fall(picture, weather, view.moment)
    drops_on_lens(picture, weather)
    labels = canvas.labels
    if view.bonnet > 0:
        light = weather.brightness * (0.3 if weather.night else 1.0)
        cover_with_bonnet(picture, labels, view.bonnet, view.street.seed, light)
    if "camera" in view.street.groups:
        rng = np.random.default_rng((view.moment, 36))
        look_through_windscreen(picture, labels, view.street.seed, weather.night)
        picture *= meter(picture, labels == SKY, rng, weather.night)
    return photograph(picture, view.lens, view.moment), labels


def _paint(canvas: Canvas, view: View) -> list[np.ndarray]:
    """Paint the complete street, far things first; return where its lamps burn, at night."""
    street, weather, s = view.street, view.weather, view.camera.position[2]
    first, last = int(np.floor((s - 6) / street.block)), int(np.floor((s + SIGHT) / street.block))
    blocks = {index: block(street, index) for index in range(first, last + 1)}
    paint_sky(canvas, weather)
    paint_skyline(canvas, street.seed, weather, street.soft)
    paint_ground(canvas, street, weather, {index: b.grass for index, b in blocks.items()})
    things: list[Drawable] = [t for b in blocks.values() for t in b.things if -3 < t.foot[2] - s < SIGHT]
    things += traffic(street, view.time, s, view.ego_speed, view.driving)
    for thing in sorted(things, key=lambda t: _remoteness(t, view.camera), reverse=True):
        thing.draw(canvas, weather)
    return [t.bulb for t in things if isinstance(t, Lamp) and t.foot[2] < s + 70] if weather.night else []


def _remoteness(thing: Drawable, camera: Camera) -> float:
    """Return the key of the painter's order, metres.

    Along one line of sight any sum of the distances ahead and aside grows; counting what lies aside twice puts a post
    at the kerb behind the long car that is parked before it.
    """
    x, _, z = camera.position
    return float(thing.foot[2] - z + 2.0 * abs(thing.foot[0] - x - (thing.foot[2] - z) * np.tan(camera.yaw)))
