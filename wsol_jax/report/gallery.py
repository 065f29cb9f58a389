"""The gallery: the cards of all photos as data of the page, which draws those that are in sight."""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from wsol_jax.files import write_atomically
from wsol_jax.report.cards import Card, Photo, Tile, make_card
from wsol_jax.threads import in_threads

INLINE = 500  # photos whose pictures are inside of the page; those of more photos are files next to it
FOLDER = "photos"
AT_ONCE = 32  # photos whose pixels are held in memory
PER_FOLDER = 1000


class Gallery(NamedTuple):
    """The cards of a page.

    Attributes:
        entries: of each card, what the script of the page draws it from.
        shapes: the names of the shapes and areas on the pictures, keys of `figures.COLORS`.
    """

    entries: list[dict[str, Any]]
    shapes: set[str]


def write_gallery(folder: Path, photos: Iterable[Photo]) -> Gallery:
    """Write the pictures of more than `INLINE` photos, and return the gallery.

    Cards are sorted by IoU, highest first; where none has one, by confidence, lowest first; then by name.

    Args:
        folder: of the page; the pictures are in `FOLDER` below it.
        photos: in any order; read once, a few at a time.
    """
    cards = _cards(iter(photos))
    first = list(islice(cards, INLINE + 1))
    keep_in = folder if len(first) > INLINE else None
    entries, shapes = [], set()
    for number, card in enumerate(chain(first, cards)):
        for tile in card.tiles:
            shapes |= {*dict(tile.rectangles), *dict(tile.outlines), *tile.areas}
        entries.append(_entry(card, number, keep_in))
    return Gallery(sorted(entries, key=_place), shapes)


def as_json(data: object) -> Markup:
    """Return data as JSON that can stand in a script element: no character of it can end that element."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _cards(photos: Iterator[Photo]) -> Iterator[Card]:
    while some := list(islice(photos, AT_ONCE)):
        yield from in_threads(make_card, some)


def _place(entry: dict[str, Any]) -> Sequence[Any]:
    iou, score = entry.get("iou"), entry.get("score")
    return iou is None, -(iou or 0), score is None, score or 0, entry["name"]


def _entry(card: Card, number: int, folder: Path | None) -> dict[str, Any]:
    entry = card._asdict() | {"tiles": [_tile(tile, f"{number:06d}_{i}", folder) for i, tile in enumerate(card.tiles)]}
    return _given(entry)


def _tile(tile: Tile, name: str, folder: Path | None) -> dict[str, Any]:
    entry = tile._asdict() | {"picture": _address(tile.picture, name, folder)}
    if tile.heat is not None:
        entry["heat"] = _address(tile.heat, f"{name}_heat", folder)
    return _given({name: value for name, value in entry.items() if name != "areas"})


def _given(entry: dict[str, Any]) -> dict[str, Any]:
    """What is not empty; 0 is a number."""
    return {name: value for name, value in entry.items() if value or type(value) in (int, float)}


def _address(jpeg: bytes, name: str, folder: Path | None) -> str:
    """The address of a picture in the page: a data URI, or a file whose name has nothing of the photo's."""
    if folder is None:
        return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    address = f"{FOLDER}/{int(name[:6]) // PER_FOLDER:03d}/{name}.jpg"
    write_atomically(folder / address, lambda file: file.write(jpeg))
    return address
