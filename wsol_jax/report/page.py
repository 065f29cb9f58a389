"""The report: one HTML file for people, with its pictures, curves and numbers inside."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from wsol_jax.evaluation.failures import KINDS
from wsol_jax.files import write_atomically
from wsol_jax.report import figures, numbers
from wsol_jax.report.cards import Card, Photo, gallery
from wsol_jax.report.domain_figures import SET_NAMES
from wsol_jax.report.domains import Drawing
from wsol_jax.report.map_figures import Curve, map_figures
from wsol_jax.report.published import Row

LEGEND = {
    "truth": "True box",
    "mask": "True outline",
    "pseudo": "Pseudo box",
    "localizer": "Predicted box",
    "maps": "Box at the best threshold",
    "region": "Above the best threshold",
    "fixed": "Box at the fixed threshold",
    **SET_NAMES,
}
KIND_COLORS = dict(zip(KINDS, ("#18a957", "#8b5cd6", "#2f6fed", "#f08c00", "#e5383b", "#8b93a1"), strict=True))


class Page(NamedTuple):
    """What the report says.

    Attributes:
        title: of the run.
        metrics: the names and numbers of metrics.json, intervals as NAME/low and NAME/high.
        classes: the classes' names.
        photos: of the gallery, in any order; read once, so that they may come one at a time.
        results: source (a key of `figures.NAMES`) -> IoUs [n] of the test photos, for the curves.
        losses: stage -> steps [n], losses [n].
        config: the resolved config, as text.
        published: rows of published tables to print beside ours.
        boxes_of: who draws the boxes that the bare numbers are about: 'localizer', or 'fixed' if it is a threshold.
        maps_of: the method that draws the maps, if there are some.
        compared: other methods -> the names and numbers of their metrics.json.
        curves: 'center_gaussian' or a method (ours first) -> metric -> its curve.
        failures: source or method -> kind of failure -> photos.
        domains: figures of domain adaption.
    """

    title: str
    metrics: Mapping[str, float]
    classes: Sequence[str]
    photos: Iterable[Photo]
    results: Mapping[str, np.ndarray]
    losses: Mapping[str, tuple[np.ndarray, np.ndarray]]
    config: str
    published: Sequence[Row] = ()
    boxes_of: str = "localizer"
    maps_of: str = "Score maps"
    compared: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    curves: Mapping[str, Mapping[str, Curve]] = MappingProxyType({})
    failures: Mapping[str, Mapping[str, int]] = MappingProxyType({})
    domains: Sequence[Drawing] = ()


class Table(NamedTuple):
    """Rows of numbers, ready for the template.

    Attributes:
        columns: metric -> its short name, and what it means.
        rows: a row's name -> metric -> cell.
        more: the rows that are shown on request.
    """

    columns: dict[str, tuple[str, str]]
    rows: numbers.Rows
    more: numbers.Rows


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
    cards = gallery(page.photos, page.classes)
    published = numbers.used(numbers.COLUMNS, {str(i): row.values for i, row in enumerate(page.published)})
    html = environment.get_template("page.html").render(
        page=page,
        box_table=_box_table(page),
        map_table=_map_table(page),
        other_metrics=numbers.other_metrics(page.metrics),
        ours={column: page.metrics[column] for column in published if column in page.metrics},
        published_columns=published,
        failures={figures.NAMES.get(whose, whose): Counter(counts) for whose, counts in page.failures.items()},
        kinds=KIND_COLORS,
        cards=cards,
        kinds_in_gallery=_count(cards),
        legend=_legend(cards),
        curves=_curves(page.results) | map_figures(page.curves),
        losses={stage: Markup(figures.loss_curve(stage, *curve)) for stage, curve in page.losses.items()},
        colors=figures.COLORS,
    )
    write_atomically(folder / "index.html", lambda file: file.write(html.encode()))


def _box_table(page: Page) -> Table:
    rows, ours = numbers.box_table(page.metrics), figures.NAMES[page.boxes_of]
    first, more = (numbers.named(part, ours) for part in (numbers.first(rows), numbers.others(rows)))
    return Table(numbers.BOX_COLUMNS, first, more)


def _map_table(page: Page) -> Table:
    """Ours, then the other methods', then what one can say without looking."""
    rows, ours = numbers.map_table(page.metrics), page.maps_of
    methods = {name: numbers.map_table(metrics).get("", {}) for name, metrics in page.compared.items()}
    first = numbers.named(numbers.first(rows), ours)
    rows_of_methods = {name: cells for name, cells in {ours: first.pop(ours, {}), **methods}.items() if cells}
    first, more = rows_of_methods | first, numbers.named(numbers.others(rows), ours)
    return Table(numbers.used(numbers.MAP_COLUMNS, first | more), first, more)


def _legend(cards: Sequence[Card]) -> dict[str, str]:
    """What is drawn on the photos, and what it is called."""
    tiles = [tile for card in cards for tile in card.tiles]
    drawn = {shape for tile in tiles for shape in (*dict(tile.rectangles), *dict(tile.outlines), *tile.areas)}
    return {shape: name for shape, name in LEGEND.items() if shape in drawn}


def _count(cards: Sequence[Card]) -> dict[str, int]:
    """How many cards there are of each kind, in the order of `KINDS`."""
    found = [card.kind for card in cards]
    return {kind: found.count(kind) for kind in KINDS if kind in found}


def _curves(results: Mapping[str, np.ndarray]) -> dict[str, Markup]:
    if not any(np.isfinite(iou).any() for iou in results.values()):
        return {}
    return {
        "How well the boxes fit": Markup(figures.iou_histogram(results)),
        "Photos found, by how strictly one asks": Markup(figures.recall_curve(results)),
    }
