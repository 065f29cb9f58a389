"""The page of a run: an HTML file with its metrics, figures and photos, and files of its figures and tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wsol_jax.evaluation.failures import KINDS
from wsol_jax.files import write_atomically
from wsol_jax.report import figures, numbers
from wsol_jax.report.cards import Photo
from wsol_jax.report.domain_figures import SET_NAMES
from wsol_jax.report.domains import CaptionedFigure
from wsol_jax.report.figures import Drawing
from wsol_jax.report.gallery import Gallery, as_json, write_gallery
from wsol_jax.report.map_figures import Curve, map_figures
from wsol_jax.report.published import Row
from wsol_jax.report.tables import Table, metrics_table, write_tables

LEGEND = {
    "truth": "True box",
    "mask": "True outline",
    "objects": "Box of each object",
    "pseudo": "Pseudo box",
    "localizer": "Predicted box",
    "maps": "Box at the best threshold",
    "region": "Pixels above the best threshold",
    "fixed": "Box at the fixed threshold",
    **SET_NAMES,
}
KIND_COLORS = dict(zip(KINDS, ("#117733", "#aa4499", "#88ccee", "#999933", "#882255", "#a8adb5"), strict=True))
"""Paul Tol's muted scheme, which has no colour of a shape on the photos."""

ORDERS = {
    "best": "Highest IoU first",
    "worst": "Lowest IoU first",
    "doubtful": "Lowest confidence first",
    "surest": "Highest confidence first",
    "name": "By name",
}


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


class MetricTable(NamedTuple):
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
    """Write the page, `folder`/index.html, and next to it its figures as PDF and its tables as CSV and LaTeX.

    The page loads no other file and no network address, except for the pictures of more than `gallery.INLINE` photos,
    which are in `folder`/photos/. Every name is escaped.

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
    gallery = write_gallery(folder, page.photos)
    published = numbers.used_columns(numbers.COLUMNS, {str(i): row.values for i, row in enumerate(page.published)})
    box_table, map_table = _box_table(page), _map_table(page)
    failures = {figures.NAMES.get(source, source): Counter(counts) for source, counts in page.failures.items()}
    curves = _curves(page.results) | map_figures(page.curves)
    losses = {stage: figures.loss_curve(stage, *curve) for stage, curve in page.losses.items()}
    for drawing in (*curves.values(), *losses.values(), *(figure.drawing for figure in page.domains)):
        _write_pdf(folder, drawing)
    html = environment.get_template("page.html").render(
        page=page,
        box_table=box_table,
        map_table=map_table,
        tables=write_tables(folder / "tables", _tables(box_table, map_table, failures)),
        other_metrics=numbers.other_metrics(page.metrics),
        ours={column: page.metrics[column] for column in published if column in page.metrics},
        published_columns=published,
        failures=failures,
        kinds=KIND_COLORS,
        kinds_in_gallery=_count(gallery),
        legend={shape: name for shape, name in LEGEND.items() if shape in gallery.shapes},
        orders=_orders(gallery),
        entries=gallery.entries,
        most=max((len(entry["tiles"]) for entry in gallery.entries), default=1),
        data=as_json({"classes": [*page.classes], "kinds": KIND_COLORS, "photos": gallery.entries}),
        curves=curves,
        losses=losses,
        colors=figures.COLORS,
    )
    write_atomically(folder / "index.html", lambda file: file.write(html.encode()))


def _write_pdf(folder: Path, drawing: Drawing) -> None:
    write_atomically(folder / "figures" / f"{drawing.name}.pdf", lambda file: file.write(drawing.pdf))


def _tables(box_table: MetricTable, map_table: MetricTable, failures: Mapping[str, Mapping[str, int]]) -> list[Table]:
    counts = [[name, *(of_source.get(kind, 0) for kind in KINDS)] for name, of_source in failures.items()]
    return [
        metrics_table("boxes", box_table.columns, box_table.rows | box_table.more),
        metrics_table("maps", map_table.columns, map_table.rows | map_table.more),
        Table("failures", ["", *(kind.capitalize() for kind in KINDS)], counts),
    ]


def _box_table(page: Page) -> MetricTable:
    rows, source = numbers.box_table(page.metrics), figures.NAMES[page.boxes_of]
    main, more = (numbers.with_names(part, source) for part in (numbers.main_rows(rows), numbers.other_rows(rows)))
    return MetricTable(numbers.used_columns(numbers.BOX_COLUMNS, main | more), main, more)


def _map_table(page: Page) -> MetricTable:
    """This run's method, then the other methods, then the baselines that ignore the photo."""
    rows, ours = numbers.map_table(page.metrics), page.maps_of
    compared = {name: numbers.map_table(metrics).get("", {}) for name, metrics in page.compared.items()}
    main = numbers.with_names(numbers.main_rows(rows), ours)
    methods = {name: cells for name, cells in {ours: main.pop(ours, {}), **compared}.items() if cells}
    main, more = methods | main, numbers.with_names(numbers.other_rows(rows), ours)
    return MetricTable(numbers.used_columns(numbers.MAP_COLUMNS, main | more), main, more)


def _count(gallery: Gallery) -> dict[str, int]:
    """The number of cards of each kind, in the order of `KINDS`."""
    counts = Counter(entry.get("kind") for entry in gallery.entries)
    return {kind: counts[kind] for kind in KINDS if kind in counts}


def _orders(gallery: Gallery) -> dict[str, str]:
    """The orders that the cards can be put in; the first is that of `Gallery`."""
    has_iou, has_score = (any(name in entry for entry in gallery.entries) for name in ("iou", "score"))
    possible = {"best": has_iou, "worst": has_iou, "doubtful": has_score, "surest": has_score}
    return {order: title for order, title in ORDERS.items() if possible.get(order, True)}


def _curves(results: Mapping[str, np.ndarray]) -> dict[str, Drawing]:
    if not any(np.isfinite(iou).any() for iou in results.values()):
        return {}
    return {
        "Distribution of the IoU": figures.iou_histogram(results),
        "Photos with a correct box, by IoU threshold": figures.recall_curve(results),
    }
