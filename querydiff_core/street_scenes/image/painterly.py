"""Paint a scene instead of photographing it: the extreme domain, which nothing is trained on."""

from __future__ import annotations

import cv2
import numpy as np

from querydiff_core.street_scenes.image.noise import noise_tile

PAINTED = "painted"
"""The condition of painted scenes, which are rendered only on request."""

HANDS = ("oil", "impressionist", "watercolour", "ink")
"""How a painter may paint."""


def paint(image: np.ndarray, seed: int) -> np.ndarray:
    """Return `image` uint8 `(H, W, 3)` RGB as one of HANDS would paint it; which, and how, is drawn from `seed`.

    Dabs along the structure of the image follow Haeberli, "Paint By Numbers: Abstract Image Representations" (1990).
    """
    rng = np.random.default_rng((seed, 14))
    hand = HANDS[int(rng.integers(len(HANDS)))]
    scale = max(image.shape[0], 64) / 256
    image = _see_into_the_dark(image)
    mixed = _mix_colors(image, rng)
    if hand in ("oil", "impressionist"):
        return _dab(mixed, (1.0 if hand == "oil" else 0.75) * scale, hand == "impressionist", rng)
    washed = _wash(mixed, scale, rng)
    return _draw_lines(image, washed, scale, rng) if hand == "ink" else washed


def _see_into_the_dark(image: np.ndarray) -> np.ndarray:
    """Lift a picture of a dim day to a median lightness of 90, as eyes do."""
    median = float(np.median(image))
    if median >= 90:
        return image
    gamma = max(np.log(90 / 255) / np.log(max(median, 8.0) / 255), 0.3)
    lifted: np.ndarray = cv2.LUT(image, np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8))
    return lifted


def _mix_colors(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `image` in a painter's colours: few lightnesses, stronger or weaker colours with a cast."""
    lab = cv2.cvtColor(cv2.bilateralFilter(image, 7, 45, 5), cv2.COLOR_RGB2LAB).astype(np.float32)
    levels = rng.integers(5, 12)
    light = np.clip((lab[..., 0] - 128) * rng.uniform(0.9, 1.4) + 128 + rng.uniform(0, 35), 0, 255)
    lab[..., 0] = 0.4 * light + 0.6 * (np.round(light / 255 * levels) * 255 / levels)
    lab[..., 1:] = 128 + (lab[..., 1:] - 128) * rng.uniform(0.5, 2.4) + rng.uniform(-12, 12, 2)
    painted: np.ndarray = cv2.cvtColor(np.clip(lab, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB)
    return painted


def _dab(image: np.ndarray, scale: float, broken: bool, rng: np.random.Generator) -> np.ndarray:
    """Cover a canvas with dabs, large ones first, each along the edge that it lies on; `broken`: colours stray."""
    height, width = image.shape[:2]
    angles = _along_edges(image, 3 * scale)
    canvas = cv2.GaussianBlur(image, (0, 0), 6 * scale)
    for length, share in ((13 * scale, 0.9), (6.5 * scale, 1.1), (3.2 * scale, 0.5)):
        colors = cv2.GaussianBlur(image, (0, 0), length / 4)
        count = int(share * height * width / (length * length * 0.35))
        rows, columns = rng.integers(0, height, count), rng.integers(0, width, count)
        tones = colors[rows, columns] + rng.normal(0, 10 if broken else 5, (count, 1))
        tones += rng.normal(0, 9 if broken else 2, (count, 3))
        turns = np.degrees(angles[rows, columns]) + rng.normal(0, 12, count)
        axes = np.maximum(length * rng.uniform(0.6, 1.2, count), 1)
        for row, column, tone, turn, axis in zip(rows, columns, np.clip(tones, 0, 255), turns, axes, strict=True):
            size = (int(axis), max(int(axis * (0.45 if broken else 0.3)), 1))
            cv2.ellipse(canvas, (int(column), int(row)), size, float(turn), 0, 360, tone.tolist(), -1, cv2.LINE_AA)
    return _on_cloth(canvas, rng.uniform(3, 9), rng)


def _along_edges(image: np.ndarray, sigma: float) -> np.ndarray:
    """Return the direction along the edges near each pixel `(H, W)`, radians, from the structure tensor."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    xx, xy, yy = (cv2.GaussianBlur(part, (0, 0), sigma) for part in (dx * dx, dx * dy, dy * dy))
    return np.asarray(0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2)


def _wash(image: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Return flat washes with darker rims, uneven pigment and paper that shines through."""
    flat = cv2.pyrMeanShiftFiltering(image, 5 * scale, rng.uniform(18, 34)).astype(np.float32)
    grey = cv2.cvtColor(flat.astype(np.uint8), cv2.COLOR_RGB2GRAY)
    rims = cv2.GaussianBlur(cv2.Laplacian(grey, cv2.CV_32F), (0, 0), scale)
    pigment = cv2.resize(noise_tile(int(rng.integers(4)), 512, 1.7), image.shape[1::-1])
    strength = rng.uniform(0.6, 0.9) * (1 + 0.05 * pigment)
    washed = 250 - (250 - flat) * strength[..., None] - np.clip(np.abs(rims), 0, 30)[..., None] * 1.2
    return _on_cloth(washed, rng.uniform(2, 7), rng)


def _draw_lines(image: np.ndarray, washed: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Return `washed` under pen lines where `image` has edges."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.3 * scale)
    window = 2 * round(4 * scale) + 1
    lines = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_GAUSSIAN_C, cv2.THRESH_BINARY, window, 6)
    ink = cv2.GaussianBlur(lines, (0, 0), 0.6).astype(np.float32)[..., None] / 255
    return np.asarray(washed * (1 - rng.uniform(0.5, 0.95) * (1 - ink)), np.uint8)


def _on_cloth(picture: np.ndarray, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Return `picture` uint8 with the grain of cloth or paper, `depth` grey levels deep."""
    height, width = picture.shape[:2]
    tile = noise_tile(3 + int(rng.integers(4)), 512, 0.4)
    rows, columns = np.arange(height) % 512, np.arange(width) % 512
    weave = tile[np.ix_(rows, columns)] + 0.6 * np.sin(rows * 2.1)[:, None] * np.sin(columns * 2.1)[None]
    return np.clip(picture.astype(np.float32) + depth * weave[..., None], 0, 255).astype(np.uint8)
