"""Generated scenes: one painted pebble on cluttered ground, with its exact box and mask. They need no file.

The class depends only on a small painted patch (its pattern and colours); the pebble, its colour, size and place are
independent of it. A network that knows the classes therefore need not know where the object ends: the difficulty of
weakly supervised localization. A scene depends on (seed, split, number) alone, and is the same picture at every size.
"""

import colorsys
import math
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict
from PIL import Image, ImageChops, ImageDraw

from wsol_jax import checks
from wsol_jax.data import masks
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError

SPLITS = ("train", "test")
PATTERNS = ("stripes", "checks", "dots", "rings", "waves")

_PART_OF_BODY = 0.05  # of the pebble's area
_MARGIN = 0.03  # between the pebble and the edge, of the image's side
_FINER = 3  # outlines are drawn this much larger and averaged


class Body(NamedTuple):
    """The place and shape of a pebble, in fractions of the image's side.

    Attributes:
        outline: float [n, 2], a polygon.
        center: float [2].
        axes: float [2, 2], its rows are the half axes; the outline is roughly the ellipse between them.
    """

    outline: np.ndarray
    center: np.ndarray
    axes: np.ndarray


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return scenes in the order of their numbers; the class of number i is i modulo the number of classes.

    Args:
        config: `config.data`, of which `scenes` is read: the numbers of classes, training and test scenes, and their
            side.
        seed: of the scenes.

    Raises:
        InputError: a number is not positive, or the side below 16.
    """
    keys = config.scenes
    for key, least in (("classes", 1), ("train", 1), ("test", 1), ("size", 16)):
        if keys[key] < least:
            raise InputError(f"--config.data.scenes.{key}: expected at least {least}, got {keys[key]}")
    with checks.prefixed("--config.data.scenes."):
        checks.memory(keys, "size", keys.size**2 * 3 * 8 * 4, "a scene")
        checks.memory(keys, "classes", keys.classes * 64, "the names of the classes")
    splits = {split: [_record(seed, split, i, keys.classes, keys.size) for i in range(keys[split])] for split in SPLITS}
    return Dataset(
        [_name(label) for label in range(keys.classes)], splits, partial(read, seed), partial(read_mask, seed)
    )


def read(seed: int, record: Record) -> np.ndarray:
    """Return the scene of a record, uint8 [size, size, 3]; see `Dataset.read`."""
    size, rng = record.size[0], _random(seed, record.path)
    body = _body(rng)
    coverage = _coverage(body.outline, size)
    ground = _ground(rng, size) * (1 - 0.55 * _shadow(coverage))
    pebble = _pebble(rng, body, size)
    _paint(rng, pebble, body, record.label)
    ground += coverage * (pebble - ground)
    return np.ascontiguousarray((ground.clip(0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def read_mask(seed: int, record: Record, size: int) -> np.ndarray:
    """Return the mask of a scene, uint8 [size, size], 1 on the pebble; see `Dataset.read_mask`."""
    return masks.combine([_mask(seed, record)], None, size)


def _mask(seed: int, record: Record) -> np.ndarray:
    """The mask of the pebble in the scene itself, bool [h, w]."""
    return _coverage(_body(_random(seed, record.path)).outline, record.size[0]) >= 0.5


def _record(seed: int, split: str, number: int, classes: int, size: int) -> Record:
    path = f"scenes/{split}/{number:05d}.png"
    record = Record(path, number % classes, (size, size), np.zeros((0, 4)), masks=(path.replace(".png", "_mask.png"),))
    mask = _mask(seed, record)
    (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
    return record._replace(boxes=np.array([[left, top, right + 1, bottom + 1]]) / size)


def _random(seed: int, path: str) -> np.random.Generator:
    name = PurePosixPath(path)
    return np.random.Generator(np.random.Philox([seed, SPLITS.index(name.parent.name), int(name.stem)]))


def _name(label: int) -> str:
    again = label // len(PATTERNS)
    return PATTERNS[label % len(PATTERNS)] + (f"_{again + 1}" if again else "")


def _body(rng: np.random.Generator) -> Body:
    """A rounded, slightly irregular outline that covers 6 to 40 % of the image and lies wholly inside it."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = 1 + sum(rng.uniform(0, 0.16 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5))
    turn, aspect = rng.uniform(0, np.pi), rng.uniform(0.45, 1)
    axes = _rotation(turn) * [[1], [aspect]]
    shape = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1) @ axes
    low, high = shape.min(axis=0), shape.max(axis=0)
    scale = min(rng.uniform(0.25, 0.63) / np.sqrt(_area(shape)), (1 - 2 * _MARGIN) / (high - low).max())
    room = 1 - 2 * _MARGIN - scale * (high - low)
    center = _MARGIN - scale * low + room * rng.uniform(size=2)
    return Body(center + scale * shape, center, scale * axes)


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _coverage(polygon: np.ndarray, size: int) -> np.ndarray:
    """The share of each pixel inside a polygon [n, 2] of fractions: float32 [size, size] of 0..1."""
    canvas = Image.new("L", (size * _FINER, size * _FINER))
    # Pillow's coordinates are pixels' centres.
    ImageDraw.Draw(canvas).polygon((polygon * size * _FINER - 0.5).ravel().tolist(), fill=255)
    return np.asarray(canvas.reduce(_FINER), np.float32) / 255


def _shadow(coverage: np.ndarray) -> np.ndarray:
    """A soft shadow of the covered pixels, a little below and to the right of them, [size, size] of 0..1."""
    size = len(coverage)
    small = Image.fromarray((coverage * 255).astype(np.uint8)).resize((24, 24), Image.Resampling.BOX)
    moved = ImageChops.offset(small.resize((size, size), Image.Resampling.BICUBIC), size // 60, size // 40)
    return np.asarray(moved, np.float32) / 255


def _noise(rng: np.random.Generator, cells: int, size: int) -> np.ndarray:
    """Smooth noise of 0..1, float32 [size, size], with `cells` cells to a side at every size."""
    grid = rng.integers(0, 256, (cells, cells), np.uint8)
    picture = Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(picture) * np.float32(1 / 255)


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB of 0..1, float32 [3, 1, 1]; planes come first, so that numpy's inner loops are long."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)[:, None, None]


def _between(first: np.ndarray, second: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Two colours [3, 1, 1] mixed, [3, h, w], by an amount [h, w]."""
    return first + amount * (second - first)


def _ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Mottled ground with twigs and leaves on it, float32 [3, size, size] of 0..1."""
    hue = rng.uniform()
    dark = _colour(hue, rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.4))
    light = _colour(hue + rng.uniform(-0.25, 0.25), rng.uniform(0.1, 0.4), rng.uniform(0.65, 0.95))
    scales = ((4, 0.4), (11, 0.25), (31, 0.2), (90, 0.25))
    ground = _between(dark, light, sum(weight * _noise(rng, cells, size) for cells, weight in scales))
    litter, coverage = _litter(rng, size)
    litter = litter * (0.7 + 0.6 * _noise(rng, 60, size))
    return ground + coverage * (litter - ground)


def _litter(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Twigs and leaves: their colours, float32 [3, size, size], and their coverage, [size, size]."""
    colours, places = Image.new("RGB", (size, size)), Image.new("L", (2 * size, 2 * size))
    draw_colour, draw_place = ImageDraw.Draw(colours), ImageDraw.Draw(places)
    for _ in range(rng.integers(16, 28)):
        colour = _colour(rng.uniform(), rng.uniform(0.2, 0.7), rng.uniform(0.25, 0.9))
        outline = (_twig if rng.uniform() < 0.5 else _leaf)(rng)
        draw_colour.polygon(
            (outline * size).ravel().tolist(), fill=tuple(int(255 * channel) for channel in colour.ravel())
        )
        draw_place.polygon((outline * 2 * size).ravel().tolist(), fill=255)
    planes = np.asarray(colours, np.float32).transpose(2, 0, 1)
    return planes / 255, np.asarray(places.reduce(2), np.float32) / 255


def _twig(rng: np.random.Generator) -> np.ndarray:
    """The outline of a thin, bent stick anywhere, float [n, 2]."""
    t = np.linspace(-1, 1, 9)[:, None]
    spine = np.concatenate([t, rng.uniform(-0.3, 0.3) * (1 - t**2)], axis=1)
    return _somewhere(rng, np.concatenate([spine, spine[::-1] + np.array([0, 0.1])]), rng.uniform(0.08, 0.22))


def _leaf(rng: np.random.Generator) -> np.ndarray:
    """The outline of a pointed leaf anywhere, float [n, 2]."""
    t = np.linspace(0, 2 * np.pi, 24)[:, None]
    outline = np.concatenate([np.cos(t), rng.uniform(0.3, 0.6) * np.sin(t) ** 3], axis=1)
    return _somewhere(rng, outline, rng.uniform(0.03, 0.11))


def _somewhere(rng: np.random.Generator, outline: np.ndarray, length: float) -> np.ndarray:
    turn = rng.uniform(0, 2 * np.pi)
    return rng.uniform(size=2) + length * outline @ _rotation(turn)


def _rotation(turn: float) -> np.ndarray:
    return np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def _pebble(rng: np.random.Generator, body: Body, size: int) -> np.ndarray:
    """A rounded, speckled surface lit from a side, float32 [3, size, size] of 0..1; its outline is cut out later."""
    ticks = _ticks(size)
    u, v = _along(body.center, body.axes, ticks, ticks)
    height = np.sqrt((1.15 - u * u - v * v).clip(0.02))
    turn = rng.uniform(0, 2 * np.pi)
    light = (math.cos(turn) / 2 * u + math.sin(turn) / 2 * v + 0.8 * height).clip(0)
    hue = rng.uniform()
    first = _colour(hue, rng.uniform(0.25, 0.7), 0.85)
    second = _colour(hue + 0.06, rng.uniform(0.2, 0.5), 0.6)
    grain = 0.75 + 0.35 * _noise(rng, 100, size) + 0.15 * _noise(rng, 30, size)
    return _between(first, second, _noise(rng, 7, size)) * (grain * (0.3 + 0.8 * light))


def _ticks(size: int) -> np.ndarray:
    """The pixels' centres, as fractions of the side."""
    return (np.arange(size, dtype=np.float32) + 0.5) / size


def _along(center: np.ndarray, axes: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of pixels from a centre, in units of two half axes: two arrays float32 [len(y), len(x)]."""
    inverse = np.linalg.inv(axes).astype(np.float32)
    x, y = x[None, :] - np.float32(center[0]), y[:, None] - np.float32(center[1])
    return x * inverse[0, 0] + y * inverse[1, 0], x * inverse[0, 1] + y * inverse[1, 1]


def _paint(rng: np.random.Generator, pebble: np.ndarray, body: Body, label: int) -> None:
    """Paint the class's patch somewhere on the pebble's surface, in place."""
    size = pebble.shape[-1]
    radius = math.sqrt(_PART_OF_BODY * _area(body.outline) / np.pi)
    away, around, turn = 0.5 * math.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
    center = body.center + away * np.array([np.cos(around), np.sin(around)]) @ body.axes
    x, y = (slice(max(0, int((c - radius) * size) - 1), int((c + radius) * size) + 2) for c in center)
    ticks, surface = _ticks(size), pebble[:, y, x]
    u, v = _along(center, radius * _rotation(turn), ticks[x], ticks[y])
    hue = 0.11 + 0.618034 * label
    paint, paper = _colour(hue, 0.95, 0.55), _colour(hue + 0.45, 0.25, 1.0)
    sharpness = radius * size
    pattern = _between(paper, paint, (_pattern(label, u, v) * sharpness / 8 + 0.5).clip(0, 1))
    shade = 0.55 + 0.6 * surface.mean(axis=0)
    surface += ((1 - np.hypot(u, v)) * sharpness + 0.5).clip(0, 1) * (pattern * shade - surface)


def _pattern(label: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The class's pattern on the patch -1..1: positive where it is painted."""
    wave = 2.5 * math.pi
    patterns = {
        "stripes": lambda: np.sin(wave * u),
        "checks": lambda: np.sin(wave * u) * np.sin(wave * v),
        "dots": lambda: np.cos(wave * u) + np.cos(wave * v) - 0.6,
        "rings": lambda: np.cos(1.2 * wave * np.hypot(u, v)),
        "waves": lambda: np.sin(wave * (u + 0.25 * np.sin(wave * v))),
    }
    return patterns[PATTERNS[label % len(PATTERNS)]]()


SCENES = Reader(
    load,
    defaults=dict(
        classes=5,  # shapes of the objects
        train=160,  # training scenes
        test=40,  # test scenes
        size=224,  # side of a scene, pixels
    ),
)
