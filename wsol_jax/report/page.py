"""The page of a run: one HTML file with its metrics, figures and photos inside."""

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
from wsol_jax.report.domains import CaptionedFigure
from wsol_jax.report.map_figures import Curve, map_figures
from wsol_jax.report.published import Row

LEGEND = {
    "truth": "True box",
    "mask": "True outline",
    "pseudo": "Pseudo box",
    "localizer": "Predicted box",
    "maps": "Box at the best threshold",
    "region": "Pixels above the best threshold",
    "fixed": "Box at the fixed threshold",
    **SET_NAMES,
}
KIND_COLORS = dict(zip(KINDS, ("#18a957", "#8b5cd6", "#2f6fed", "#f08c00", "#e5383b", "#8b93a1"), strict=True))


class Page(NamedTuple):
    """The content of a page.

    Attributes:
        title: its heading.
        metrics: the content of metrics.json, intervals as NAME/low and NAME/high.
        classes: the classes' names.
        photos: of the gallery, in any order; read once, so that a generator will do.
        results: source (a key of `figures.NAMES`) -> IoUs [n] of the test photos, for the curves.
        losses: stage -> steps [n], losses [n].
        config: the resolved config, as text.
        published: rows of published tables, printed below this run's metrics.
        boxes_of: source of the boxes that the metrics without a prefix evaluate: 'localizer', or 'fixed' for boxes of
            maps at a fixed threshold.
        maps_of: the method of the maps, if there are some.
        compared: another method -> the content of its metrics.json.
        curves: 'center_gaussian' or a method (this run's first) -> metric -> its curve.
        failures: source or method -> kind of failure -> number of photos.
        domains: figures of domain adaptation.
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
    domains: Sequence[CaptionedFigure] = ()


class Table(NamedTuple):
    """A table of metrics, ready for the template.

    Attributes:
        columns: metric -> its short name and its meaning.
        rows: a row's name -> metric -> cell.
        more: the rows that are shown on request, likewise.
    """

    columns: dict[str, tuple[str, str]]
    rows: numbers.Rows
    more: numbers.Rows


def write_page(folder: Path, page: Page) -> None:
    """Write `folder`/index.html, whole or not at all.

    The file refers to no other file and to no network address. The gallery is sorted by IoU, highest first; photos
    without one come last, by name. Every name is escaped.

    Args:
        folder: created if it does not exist.
        page: the content.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = gallery(page.photos, page.classes)
    published = numbers.used_columns(numbers.COLUMNS, {str(i): row.values for i, row in enumerate(page.published)})
    html = environment.get_template("page.html").render(
        page=page,
        box_table=_box_table(page),
        map_table=_map_table(page),
        other_metrics=numbers.other_metrics(page.metrics),
        ours={column: page.metrics[column] for column in published if column in page.metrics},
        published_columns=published,
        failures={figures.NAMES.get(source, source): Counter(counts) for source, counts in page.failures.items()},
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
    rows, source = numbers.box_table(page.metrics), figures.NAMES[page.boxes_of]
    main, more = (numbers.with_names(part, source) for part in (numbers.main_rows(rows), numbers.other_rows(rows)))
    return Table(numbers.BOX_COLUMNS, main, more)


def _map_table(page: Page) -> Table:
    """This run's method, then the other methods, then the baselines that ignore the photo."""
    rows, ours = numbers.map_table(page.metrics), page.maps_of
    compared = {name: numbers.map_table(metrics).get("", {}) for name, metrics in page.compared.items()}
    main = numbers.with_names(numbers.main_rows(rows), ours)
    methods = {name: cells for name, cells in {ours: main.pop(ours, {}), **compared}.items() if cells}
    main, more = methods | main, numbers.with_names(numbers.other_rows(rows), ours)
    return Table(numbers.used_columns(numbers.MAP_COLUMNS, main | more), main, more)


def _legend(cards: Sequence[Card]) -> dict[str, str]:
    """The shapes on the photos, with their names."""
    tiles = [tile for card in cards for tile in card.tiles]
    shapes = {shape for tile in tiles for shape in (*dict(tile.rectangles), *dict(tile.outlines), *tile.areas)}
    return {shape: name for shape, name in LEGEND.items() if shape in shapes}


def _count(cards: Sequence[Card]) -> dict[str, int]:
    """The number of cards of each kind, in the order of `KINDS`."""
    counts = Counter(card.kind for card in cards)
    return {kind: counts[kind] for kind in KINDS if kind in counts}


def _curves(results: Mapping[str, np.ndarray]) -> dict[str, Markup]:
    if not any(np.isfinite(iou).any() for iou in results.values()):
        return {}
    return {
        "Distribution of the IoU": Markup(figures.iou_histogram(results)),
        "Photos with a correct box, by IoU threshold": Markup(figures.recall_curve(results)),
    }
