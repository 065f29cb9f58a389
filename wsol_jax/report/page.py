"""The report: one HTML file for people, with its pictures, curves and numbers inside."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from wsol_jax import boxes
from wsol_jax.files import write_atomically
from wsol_jax.report import figures
from wsol_jax.report.published import Row

THUMBNAIL = 256  # pixels, longest side
COLUMNS = {
    "gt_known_loc": ("GT-known Loc", "the box is right, whatever the class"),
    "top1_loc": ("Top-1 Loc", "the box is right and the true class is the likeliest"),
    "top5_loc": ("Top-5 Loc", "the box is right and the true class is among the five likeliest"),
    "top1_cls": ("Top-1 Cls", "the true class is the likeliest"),
    "top5_cls": ("Top-5 Cls", "the true class is among the five likeliest"),
}
LEGEND = {"truth": "True box", "pseudo": "Pseudo box", "localizer": "Predicted box"}
WHOSE = ("", "pseudo", "center_box", "center_gaussian")  # whose numbers, '' the method's own: the main table's rows
WORDS = figures.NAMES | {
    "": figures.NAMES["localizer"],
    "center_gaussian": "Centre Gaussian",
    "train": "training photos",
    "val": "validation photos",
    "psol_code": "PSOL code’s protocol",
}


class Photo(NamedTuple):
    """A photo of the gallery. Boxes are normalised xyxy in its own frame.

    Attributes:
        name: its path, as in the tables.
        label: its true class, an index of `Page.classes`.
        image: uint8 [h, w, 3].
        truth: [m, 4], the true boxes, m = 0 where nobody drew one.
        pseudo: [4], the pseudo box, if there is one.
        predicted: [4], the localizer's box, if there is one.
        iou: of the predicted box with the best true one; None where it cannot be said.
        top5: the likeliest classes (indices of `Page.classes`), likeliest first, with their probabilities.
        heat: float [a, b], a heat map of the whole photo, if there is one.
    """

    name: str
    label: int
    image: np.ndarray
    truth: np.ndarray
    pseudo: np.ndarray | None = None
    predicted: np.ndarray | None = None
    iou: float | None = None
    top5: Sequence[tuple[int, float]] = ()
    heat: np.ndarray | None = None


class Page(NamedTuple):
    """What the report says.

    Attributes:
        title: of the run.
        metrics: the names and numbers of metrics.json, intervals as NAME/low and NAME/high.
        classes: the classes' names.
        photos: of the gallery, in any order; read once, so that they may come one at a time.
        results: source ('localizer', 'pseudo', 'center_box') -> IoUs [n] of the test photos, for the curves.
        losses: stage -> steps [n], losses [n].
        config: the resolved config, as text.
        published: rows of published tables to print beside ours.
    """

    title: str
    metrics: Mapping[str, float]
    classes: Sequence[str]
    photos: Iterable[Photo]
    results: Mapping[str, np.ndarray]
    losses: Mapping[str, tuple[np.ndarray, np.ndarray]]
    config: str
    published: Sequence[Row] = ()


class Cell(NamedTuple):
    """A number of the table, in percent, with the ends of its interval if it has one."""

    value: float
    low: float | None
    high: float | None


class Card(NamedTuple):
    """A photo, made ready for the template: names for numbers, pixels of its thumbnail, pictures as data URIs."""

    name: str
    true_class: str
    guesses: list[tuple[str, float]]
    iou: float | None
    width: int
    height: int
    picture: str
    heat: str | None
    rectangles: list[tuple[str, list[float]]]


def write_page(folder: Path, page: Page) -> None:
    """Write `folder`/index.html, whole or not at all.

    The file needs nothing else, neither the network nor other files. The gallery comes best IoU first, photos without
    one last and by name. Every name is escaped.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = table(page.metrics)
    cards = gallery(page.photos, page.classes)
    drawn = {whose for card in cards for whose, _ in card.rectangles}
    html = environment.get_template("page.html").render(
        page=page,
        columns=COLUMNS,
        rows={row_name(prefix): cells for prefix, cells in rows.items() if prefix in WHOSE},
        more_rows={row_name(prefix): cells for prefix, cells in rows.items() if prefix not in WHOSE},
        other_metrics=other_metrics(page.metrics),
        ours=rows.get("", {}),
        published_columns={m: COLUMNS[m] for m in COLUMNS if any(m in row.values for row in page.published)},
        cards=cards,
        legend={whose: name for whose, name in LEGEND.items() if whose in drawn},
        curves=_curves(page.results),
        losses={stage: Markup(figures.loss_curve(stage, *curve)) for stage, curve in page.losses.items()},
        colors=figures.COLORS,
    )
    write_atomically(folder / "index.html", lambda file: file.write(html.encode()))


def table(metrics: Mapping[str, float]) -> dict[str, dict[str, Cell]]:
    """The metrics that have a column: their prefix ('' or, say, 'pseudo/train') -> column -> cell.

    The rows come by whose they are, as in `WHOSE`.
    """
    rows: dict[str, dict[str, Cell]] = {}
    for name, value in metrics.items():
        prefix, _, metric = name.rpartition("/")
        if metric in COLUMNS:
            rows.setdefault(prefix, {})[metric] = Cell(value, metrics.get(f"{name}/low"), metrics.get(f"{name}/high"))
    return {prefix: rows[prefix] for prefix in sorted(rows, key=lambda prefix: (WHOSE.index(_whose(prefix)), prefix))}


def row_name(prefix: str) -> str:
    """A prefix of metric names in words: 'pseudo/train' is 'Pseudo boxes · training photos'."""
    whose = _whose(prefix)
    rest = [word for word in prefix.split("/") if word != whose]
    return " · ".join(WORDS.get(word, word) for word in [whose, *rest])


def _whose(prefix: str) -> str:
    return next((word for word in prefix.split("/") if word in WHOSE), "")


def other_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that have neither a column nor are an end of an interval, nor count photos."""
    shown = {*COLUMNS, "low", "high", "photos", "photos_with_boxes"}
    return {name: value for name, value in metrics.items() if name.rpartition("/")[2] not in shown}


def gallery(photos: Iterable[Photo], classes: Sequence[str]) -> list[Card]:
    """The photos as cards: best IoU first, those without one last, by name."""
    cards = [_card(photo, classes) for photo in photos]
    return sorted(cards, key=lambda card: (card.iou is None, -(card.iou or 0), card.name))


def _card(photo: Photo, classes: Sequence[str]) -> Card:
    thumbnail = Image.fromarray(photo.image)
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    pixels, size = np.asarray(thumbnail), np.array(thumbnail.size)
    drawn = [("pseudo", photo.pseudo)] if photo.pseudo is not None else []
    drawn += [("localizer", photo.predicted)] if photo.predicted is not None else []
    drawn += [("truth", box) for box in photo.truth]  # dashed and on top, so that a perfect box hides neither
    return Card(
        name=photo.name,
        true_class=classes[photo.label],
        guesses=[(classes[label], 100 * float(probability)) for label, probability in photo.top5],
        iou=None if photo.iou is None or np.isnan(photo.iou) else float(photo.iou),
        width=thumbnail.width,
        height=thumbnail.height,
        picture=_jpeg(pixels),
        heat=None if photo.heat is None else _jpeg(figures.heat_overlay(pixels, photo.heat)),
        rectangles=[(whose, boxes.xyxy_to_xywh(boxes.scale(box, size)).round(1).tolist()) for whose, box in drawn],
    )


def _jpeg(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _curves(results: Mapping[str, np.ndarray]) -> dict[str, Markup]:
    if not any(np.isfinite(iou).any() for iou in results.values()):
        return {}
    return {
        "How well the boxes fit": Markup(figures.iou_histogram(results)),
        "Photos found, by how strictly one asks": Markup(figures.recall_curve(results)),
    }
