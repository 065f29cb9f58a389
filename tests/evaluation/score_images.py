"""Images of every kind that a quantised score map can be, most of them hard: shared by the tests of contours."""

from collections.abc import Iterator

import cv2
import numpy as np


def score_images(n: int, seed: int) -> Iterator[np.ndarray]:
    """Noise, plateaus, blobs, masks, frames and upsampled maps, uint8 [h, w], 1 to 39 pixels a side."""
    rng = np.random.default_rng(seed)
    for kind in range(n):
        h, w = (int(side) for side in rng.integers(1, 40, 2))
        yield (_noise, _few_values, _blobs, _terraces, _mask, _frames, _upsampled)[kind % 7](rng, h, w).astype(np.uint8)


def _noise(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    return rng.integers(0, 256, (h, w))


def _few_values(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    return rng.integers(0, rng.integers(2, 6), (h, w))


def _blobs(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    blurred = cv2.GaussianBlur(rng.normal(size=(h, w)), (0, 0), rng.uniform(0.5, 4))
    return 255 * (blurred - blurred.min()) / (np.ptp(blurred) + 1e-9)


def _terraces(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    steps = rng.integers(2, 9)
    return np.floor(_blobs(rng, h, w) / 256 * steps) * rng.integers(1, 28)


def _mask(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    return (rng.random((h, w)) < rng.uniform(0.05, 0.95)) * rng.integers(1, 256)


def _frames(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    image = np.zeros((h, w))
    for _ in range(rng.integers(1, 12)):
        corners = [tuple(int(v) for v in (rng.integers(w), rng.integers(h))) for _ in range(2)]
        cv2.rectangle(image, *corners, int(rng.integers(256)), int(rng.choice([-1, 1, 2])))
    return image


def _upsampled(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    coarse = rng.normal(size=rng.integers(2, 8, 2))
    image = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    return np.clip(300 * (image - image.min()) / (np.ptp(image) + 1e-9) - 20, 0, 255)
