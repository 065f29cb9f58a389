"""Cards: a photo with its boxes and mask, and the maps of one or several methods, as pictures and shapes on them."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from wsol_jax import boxes
from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report.figures import COLORS, flat_overlay, heat_overlay

THUMBNAIL = 256  # pixels, longest side of the frame that shapes are drawn in, and of the pictures of maps
PHOTO = 384  # pixels, longest side of the photo's own picture, which is also shown large
OBJECT = 1  # in the masks of data/masks.py


class View(NamedTuple):
    """One method's map of a photo. Boxes are normalised xyxy in the photo's frame.

    Attributes:
        method: its name.
        score_map: float [a, b] in [0, 1], of the whole photo.
        box: [4], around the largest part of the map above the threshold that is best over all photos.
        region: bool [a, b], the pixels above a threshold; of a photo with a true mask and without true boxes.
        fixed: [4], the box at a threshold that was fixed beforehand.
        iou: of the box, or else of the region, with the truth; None where neither was evaluated.
        kind: right or its kind of failure, one of `failures.KINDS`; None where it was not evaluated.
        assignment: int8 [a, b], DA-WSOL's set of each pixel of the whole photo, see `SETS`; None without DA-WSOL.
    """

    method: str
    score_map: np.ndarray
    box: np.ndarray | None = None
    region: np.ndarray | None = None
    fixed: np.ndarray | None = None
    iou: float | None = None
    kind: str | None = None
    assignment: np.ndarray | None = None


class Photo(NamedTuple):
    """A photo of the gallery. Boxes are normalised xyxy in its own frame.

    Attributes:
        name: its path, as in the tables.
        label: its true class, an index of the classes; -1 where it is unknown.
        image: uint8 [h, w, 3].
        truth: [m, 4], the true boxes, m = 0 where none was annotated.
        pseudo: [4], the pseudo box, if there is one.
        predicted: [4], the localizer's box, if there is one.
        iou: of the localizer's box, or else of the first view, with the best true box; None if it was not evaluated.
        kind: right or its kind of failure, one of `failures.KINDS`; None where it was not evaluated.
        top5: the most probable classes (indices of the classes), most probable first, with their probabilities.
        heat: float [a, b], a heat map of the whole photo, if there is one.
        mask: uint8 [s, s], the true mask of the whole photo as `Dataset.read_mask` gives it, if there is one.
        views: the maps of this run's method and of the compared ones, shown side by side.
        split: the split that it is in; '' where there are no splits.
        score: the confidence of its box in [0, 1]; None where it has none.
        fallback: whether no object was detected, so that the box is the whole photo.
        objects: [k, 4], the boxes of all objects; () without the stage `objects`.
    """

    name: str
    label: int
    image: np.ndarray
    truth: np.ndarray
    pseudo: np.ndarray | None = None
    predicted: np.ndarray | None = None
    iou: float | None = None
    kind: str | None = None
    top5: Sequence[tuple[int, float]] = ()
    heat: np.ndarray | None = None
    mask: np.ndarray | None = None
    views: Sequence[View] = ()
    split: str = ""
    score: float | None = None
    fallback: bool = False
    objects: Sequence[np.ndarray] = ()


class Tile(NamedTuple):
    """One picture of a card; pictures are JPEG files, shapes are in pixels of the card's frame.

    Attributes:
        title: the method; '' for the photo itself.
        picture: the photo, or a map over it.
        heat: the picture that replaces it on request.
        rectangles: the shape's name (a key of `figures.COLORS`), and its left, top, width and height.
        outlines: the shape's name, and its outline as an SVG path.
        iou: of its box or region; None if it was not evaluated.
        kind: one of `failures.KINDS`; None if it was not evaluated.
        areas: the names of its flat colours.
    """

    title: str
    picture: bytes
    heat: bytes | None
    rectangles: list[tuple[str, list[float]]]
    outlines: list[tuple[str, str]]
    iou: float | None = None
    kind: str | None = None
    areas: Sequence[str] = ()


class Card(NamedTuple):
    """A photo, ready for the page.

    Attributes:
        name: its path.
        split: see `Photo`.
        label: see `Photo`.
        top5: the most probable classes (indices of the classes), most probable first, with their percentages.
        iou: see `Photo`; None instead of NaN.
        score: see `Photo`; None instead of NaN.
        fallback: see `Photo`.
        kind: see `Photo`.
        size: width and height of the frame of its shapes, pixels.
        tiles: the photo itself, then its maps.
    """

    name: str
    split: str
    label: int
    top5: list[tuple[int, float]]
    iou: float | None
    score: float | None
    fallback: bool
    kind: str | None
    size: tuple[int, int]
    tiles: list[Tile]


def make_card(photo: Photo) -> Card:
    """Return a photo as a card."""
    pixels = thumbnail(photo.image, THUMBNAIL)
    return Card(
        name=photo.name,
        split=photo.split,
        label=photo.label,
        top5=[(label, round(100 * float(probability), 1)) for label, probability in photo.top5],
        iou=_number(photo.iou),
        score=_number(photo.score),
        fallback=bool(photo.fallback),
        kind=photo.kind,
        size=(pixels.shape[1], pixels.shape[0]),
        tiles=[
            _photo_tile(photo, pixels),
            *(tile for view in photo.views for tile in _view_tiles(view, photo, pixels)),
        ],
    )


def thumbnail(image: np.ndarray, side: int) -> np.ndarray:
    """Return a photo, uint8 [h, w, 3], made smaller where its longest side has more pixels than `side`."""
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


def _photo_tile(photo: Photo, pixels: np.ndarray) -> Tile:
    size = pixels.shape[1::-1]
    is_evaluated = photo.predicted is not None or not photo.views  # otherwise photo.iou is that of the first view
    named = [
        *(("objects", box) for box in photo.objects),
        ("pseudo", photo.pseudo),
        ("localizer", photo.predicted),
        *(("truth", box) for box in photo.truth),
    ]
    return Tile(
        title="",
        picture=_jpeg(thumbnail(photo.image, PHOTO)),
        heat=None if photo.heat is None else _jpeg(heat_overlay(pixels, photo.heat)),
        rectangles=_rectangles(named, size),
        outlines=_outlines([("mask", _objects(photo))], size),
        iou=_number(photo.iou) if is_evaluated else None,
        kind=photo.kind if is_evaluated else None,
    )


def _view_tiles(view: View, photo: Photo, pixels: np.ndarray) -> list[Tile]:
    """The map, and DA-WSOL's three sets next to it."""
    return [
        _map_tile(view, photo, pixels),
        *([] if view.assignment is None else [_assignment_tile(view, photo, pixels)]),
    ]


def _map_tile(view: View, photo: Photo, pixels: np.ndarray) -> Tile:
    size = pixels.shape[1::-1]
    named = [("fixed", view.fixed), ("maps", view.box), *(("truth", box) for box in photo.truth)]
    return Tile(
        title=view.method,
        picture=_jpeg(heat_overlay(pixels, view.score_map)),
        heat=None,
        rectangles=_rectangles(named, size),
        outlines=[] if view.region is None else _outlines([("mask", _objects(photo)), ("region", view.region)], size),
        iou=_number(view.iou),
        kind=view.kind,
    )


def _assignment_tile(view: View, photo: Photo, pixels: np.ndarray) -> Tile:
    size = pixels.shape[1::-1]
    return Tile(
        title=f"{view.method}, target samples",
        picture=_jpeg(flat_overlay(pixels, view.assignment, [COLORS[name] for name in SETS])),
        heat=None,
        rectangles=_rectangles([("truth", box) for box in photo.truth], size),
        outlines=_outlines([("mask", _objects(photo))], size),
        areas=SETS,
    )


def outline(region: np.ndarray, size: tuple[int, int]) -> str:
    """Return the outline of a region and of its holes as an SVG path, '' for an empty region.

    Args:
        region: bool [h, w], of the whole photo.
        size: width and height of the picture that the path is drawn on, pixels.
    """
    resized = cv2.resize(region.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5
    borders, _ = cv2.findContours(resized.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    smooth = [cv2.approxPolyDP(border, 0.7, closed=True)[:, 0] for border in borders]
    return " ".join(f"M{'L'.join(f'{x} {y}' for x, y in points)}Z" for points in smooth if len(points) > 2)


def _rectangles(named: Sequence[tuple[str, np.ndarray | None]], size: tuple[int, int]) -> list[tuple[str, list[float]]]:
    """The boxes in pixels; the true ones, dashed, come last and lie on top, so that a perfect box hides neither."""
    frame = np.array(size)
    return [
        (name, boxes.xyxy_to_xywh(boxes.scale(box, frame)).round(1).tolist()) for name, box in named if box is not None
    ]


def _outlines(named: Sequence[tuple[str, np.ndarray | None]], size: tuple[int, int]) -> list[tuple[str, str]]:
    return [(name, outline(region, size)) for name, region in named if region is not None]


def _objects(photo: Photo) -> np.ndarray | None:
    return None if photo.mask is None else photo.mask == OBJECT


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 4)


def _jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return file.getvalue()
