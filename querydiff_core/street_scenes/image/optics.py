"""What a camera adds: white balance, exposure, blur, glare, sharpening, vignette, noise, coarse pixels, compression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from querydiff_core.street_scenes.image.noise import noise_tile


@dataclass(frozen=True)
class Lens:
    """The faults of one camera. `quality`: of its JPEG, 0 for none; `noise` in grey levels; `blur` in pixels.

    `motion`: length of the smear to the side, pixels. `coarseness`: pixels of the picture for each of the sensor.
    `sharpening`: share of what a blur takes away that is added. `glare`: veil of stray light in grey levels.
    `exposure`: factor on the light; what passes 255 is lost. `color_noise`: in grey levels, of blotches of colour.
    """

    gain: tuple[float, float, float]
    gamma: float
    contrast: float
    saturation: float
    blur: float
    vignette: float
    noise: float
    quality: int
    motion: int = 0
    coarseness: float = 1.0
    sharpening: float = 0.0
    glare: float = 0.0
    exposure: float = 1.0
    color_noise: float = 0.0


def draw_lens(rng: np.random.Generator, strength: float, night: bool) -> Lens:
    """Draw a camera; `strength` 0 to 1 scales how far it strays from a good one."""
    gain = 1 + strength * (rng.uniform(-0.12, 0.12) * np.array([1, 0, -1]) + rng.uniform(-0.05, 0.05, 3))
    return Lens(
        gain=(float(gain[0]), float(gain[1]), float(gain[2])),
        gamma=float(np.exp(strength * (rng.uniform(0, 0.9) if rng.random() < 0.25 else rng.uniform(-0.35, 0.35)))),
        contrast=float(1 + strength * rng.uniform(-0.25, 0.3)),
        saturation=float(1 + strength * rng.uniform(-0.6, 0.4)),
        blur=float(0.35 + (strength * rng.uniform(0, 1.0) ** 2 if rng.random() < 0.6 else 0)),
        vignette=float(strength * rng.uniform(0, 0.4)),
        noise=float(rng.uniform(0.5, 4) + strength * (rng.uniform(0, 9) if night else rng.uniform(0, 5) ** 2 / 5)),
        quality=int(rng.integers(35, 95)) if rng.random() < 0.6 * strength else 0,
        motion=int(rng.integers(2, 6)) if rng.random() < 0.15 * strength else 0,
        coarseness=float(rng.uniform(1.1, 2.2)) if rng.random() < 0.3 * strength else 1.0,
        sharpening=float(strength * rng.uniform(0.3, 1.5)) if rng.random() < 0.4 else 0.0,
        glare=float(strength * rng.uniform(0, 35)) if rng.random() < 0.25 else 0.0,
        exposure=float(np.exp(strength * rng.uniform(-0.15, 0.45))),
    )


def draw_worn_lens(rng: np.random.Generator, lens: Lens, night: bool) -> Lens:
    """Let `lens` stray further in some scenes: darkness makes it noisy, speed smears, haze on the glass veils."""
    return replace(
        lens,
        gamma=min(lens.gamma, 1.4),  # shadows that `meter` has exposed for are not crushed again
        contrast=min(lens.contrast, 1.15),
        noise=lens.noise + float(rng.uniform(4, 16) if rng.random() < (0.4 if night else 0.08) else 0.0),
        color_noise=float(rng.uniform(2, 12) if rng.random() < (0.5 if night else 0.12) else 0.0),
        motion=int(rng.integers(4, 12)) if rng.random() < (0.12 if night else 0.05) else lens.motion,
        blur=lens.blur + float(rng.uniform(0.3, 1.2) if rng.random() < 0.12 else 0.0),
        glare=lens.glare + float(rng.uniform(5, 40) if rng.random() < 0.15 else 0.0),
    )


def meter(picture: np.ndarray, sky: np.ndarray, rng: np.random.Generator, night: bool) -> float:
    """Return the gain that brings `picture` float32 `(H, W, 3)` most of the way to a usual brightness.

    `sky`: bool `(H, W)`; some cameras expose for the street alone and lose the sky, others count it in part.
    """
    weight = np.where(sky[::4, ::4], rng.uniform(0.02, 0.8), 1.0)
    mean = float(np.average(np.minimum(picture[::4, ::4], 255.0).mean(axis=2), weights=weight))
    wanted = rng.uniform(22, 75) if night else rng.uniform(65, 135)
    return float(np.clip((wanted / max(mean, 1.0)) ** rng.uniform(0.6, 1.0), 0.4, 8.0))


def photograph(picture: np.ndarray, lens: Lens, moment: int) -> np.ndarray:
    """Turn light, float32 RGB `(H, W, 3)` about 0 to 255, into the uint8 image that `lens` takes at frame `moment`."""
    height, width = picture.shape[:2]
    if lens.blur > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), lens.blur * max(height, 128) / 256)
    if lens.motion:
        picture = cv2.blur(picture, (2 * round(lens.motion * max(height, 128) / 512) + 1, 1))
    if lens.coarseness > 1:
        small = (max(round(width / lens.coarseness), 1), max(round(height / lens.coarseness), 1))
        picture = cv2.resize(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), (width, height))
    if lens.sharpening:
        picture = cv2.addWeighted(
            picture, 1 + lens.sharpening, cv2.GaussianBlur(picture, (0, 0), 1.2), -lens.sharpening, lens.glare
        )
    elif lens.glare:
        picture = picture + np.float32(lens.glare)
    to_grey = np.ones((3, 1)) * np.array([0.3, 0.59, 0.11])
    mix = lens.exposure * np.array(lens.gain)[:, None] * (to_grey + lens.saturation * (np.eye(3) - to_grey))
    picture = cv2.transform(picture, mix.astype(np.float32))
    if lens.vignette > 0.02:
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, width, dtype=np.float32)[None]
        picture *= (1 - np.float32(lens.vignette / 2) * (x * x + y * y))[..., None]
    _add_grain(picture, lens, moment)
    image = cv2.LUT(cv2.convertScaleAbs(np.maximum(picture, 0, out=picture)), _tone_curve(lens))
    if not lens.quality:
        return image
    _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, lens.quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


def _add_grain(picture: np.ndarray, lens: Lens, moment: int) -> None:
    """Add the noise of the sensor at frame `moment` to `picture` `(H, W, 3)`, in place."""
    height, width = picture.shape[:2]
    rng = np.random.default_rng((moment, 11))
    tile = noise_tile(3 + int(rng.integers(4)), 512, 0.15)
    rows, columns = np.arange(height) + rng.integers(512), np.arange(width) + rng.integers(512)
    grain = tile[np.ix_(rows % 512, columns % 512)]
    grain *= np.float32(lens.noise)
    picture += grain[..., None]
    if lens.color_noise:
        tile = noise_tile(7, 512, 0.6)
        for channel, shift in ((0, 131), (2, 311)):
            blotches = tile[np.ix_((rows + shift) % 512, columns % 512)]
            picture[..., channel] += np.float32(lens.color_noise) * blotches


def _tone_curve(lens: Lens) -> np.ndarray:
    """Return contrast and gamma as a look-up table uint8 `(256,)`."""
    level = (np.arange(256) / 255) ** lens.gamma
    curve = 0.5 + (level - 0.5) * lens.contrast
    return np.clip(255 * curve + 0.5, 0, 255).astype(np.uint8)
