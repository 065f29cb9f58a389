"""The page's tables: the metrics of metrics.json in rows and columns."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from wsol_jax.report.figures import NAMES

BOX_COLUMNS = {
    "gt_known_loc": ("GT-known Loc", "the box is correct, regardless of the class"),
    "top1_loc": ("Top-1 Loc", "the box is correct and the true class is the most probable one"),
    "top5_loc": ("Top-5 Loc", "the box is correct and the true class is among the five most probable"),
    "top1_cls": ("Top-1 Cls", "the true class is the most probable one"),
    "top5_cls": ("Top-5 Cls", "the true class is among the five most probable"),
}
MAP_COLUMNS = {
    "max_box_acc_v2": ("MaxBoxAccV2", "the mean of the next three"),
    "max_box_acc_v2_iou30": ("@ 30", "a box around any part of the map has an IoU of at least 0.3"),
    "max_box_acc_v2_iou50": ("@ 50", "a box around any part of the map has an IoU of at least 0.5; DA-WSOL’s GT-known"),
    "max_box_acc_v2_iou70": ("@ 70", "a box around any part of the map has an IoU of at least 0.7"),
    "max_box_acc": ("MaxBoxAcc", "the box around the largest part of the map has an IoU of at least 0.5"),
    "pxap": ("PxAP", "the area under precision over recall of all pixels"),
    "piou": ("pIoU", "the highest IoU of the pixels above a threshold with all objects’ pixels"),
    "top1_loc_map": ("Top-1 Loc (map)", "as @ 50, and the true class is the most probable one"),
    "top1_cls": ("Top-1 Cls", "the true class is the most probable one"),
}
COLUMNS = BOX_COLUMNS | MAP_COLUMNS
SOURCES = (
    "",
    "pseudo",
    "mean_box",
    "center_box",
    "center_gaussian",
)  # prefixes in the order of the rows; '' is the run's method
PREFIX_NAMES = NAMES | {
    "train": "training photos",
    "val": "validation photos",
    "psol_code": "PSOL code’s protocol",
    "exact": "exact boxes",
    "val_threshold": "validated threshold",
    "pseudo_threshold": "threshold of pseudo boxes",
}
CHOSEN = ("val_threshold", "pseudo_threshold")
MAIN_PREFIXES = (*SOURCES, *CHOSEN, *(f"center_gaussian/{prefix}" for prefix in CHOSEN))
SHOWN_ELSEWHERE = {
    "low",
    "high",
    "threshold",
    "photos",
    "photos_with_boxes",
    "maps",
    "maps_with_boxes",
    "objects",
    "true_objects",
}


class Cell(NamedTuple):
    """A number of a table.

    Attributes:
        value: the number, percent.
        below: the small print below it, '' for none.
    """

    value: float
    below: str = ""


Rows = dict[str, dict[str, Cell]]
"""A row's prefix ('' or e.g. 'pseudo/train') or name -> column -> cell."""


def box_table(metrics: Mapping[str, float]) -> Rows:
    """Return the metrics of one box a photo, with their intervals below, by prefix, in the order of `SOURCES`."""
    rows = _rows(metrics, BOX_COLUMNS)
    for prefix, cells in rows.items():
        for column, cell in cells.items():
            cells[column] = cell._replace(below=_interval(metrics, prefix, column))
    return rows


def map_table(metrics: Mapping[str, float]) -> Rows:
    """Return the metrics of maps, with their intervals and thresholds below, by prefix, in the order of `SOURCES`.

    Below a metric at a threshold of CHOSEN is its difference to the one at the best threshold. The best centred box is
    a row as well: as one box a photo it has a MaxBoxAcc, which is its GT-known Loc.
    """
    if "max_box_acc" in metrics and "center_box/gt_known_loc" in metrics:
        metrics = {**metrics, "center_box/max_box_acc": metrics["center_box/gt_known_loc"]}
    rows = _rows(metrics, MAP_COLUMNS)
    rows = {prefix: cells for prefix, cells in rows.items() if set(cells) - {"top1_cls"}}
    for prefix, cells in rows.items():
        for column, cell in cells.items():
            notes = _interval(metrics, prefix, column), _threshold(metrics, prefix, column)
            cells[column] = cell._replace(below=", ".join(filter(None, notes)))
    rows.get("center_box", {}).pop("top1_cls", None)
    return rows


def main_rows(rows: Rows) -> Rows:
    """Return the rows of the test photos under the default protocol, at the best and at the chosen thresholds."""
    return {prefix: cells for prefix, cells in rows.items() if prefix in MAIN_PREFIXES}


def other_rows(rows: Rows) -> Rows:
    """Return the rows that are not among `main_rows`: other splits, other protocols."""
    return {prefix: cells for prefix, cells in rows.items() if prefix not in MAIN_PREFIXES}


def with_names(rows: Rows, method: str) -> Rows:
    """Return the rows by their names instead of their prefixes; see `row_name`."""
    return {row_name(prefix, method): cells for prefix, cells in rows.items()}


def used_columns(columns: Collection[str], rows: Rows) -> dict[str, tuple[str, str]]:
    """Return the columns that have a cell in any row, each with its short name and its meaning."""
    return {column: COLUMNS[column] for column in columns if any(column in cells for cells in rows.values())}


def row_name(prefix: str, method: str) -> str:
    """Return the name of the row of a prefix of metrics.

    Args:
        prefix: e.g. 'pseudo/train'; '' is the run's method on the test photos.
        method: the name of the run's method.

    Example:
        >>> row_name("pseudo/train", "Localizer"), row_name("val_threshold", "CAM")
        ('Pseudo boxes · training photos', 'CAM · validated threshold')
    """
    source = _source(prefix)
    rest = [part for part in prefix.split("/") if part != source]
    return " · ".join([PREFIX_NAMES[source] if source else method, *(PREFIX_NAMES.get(part, part) for part in rest)])


def other_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that have no column, are not printed below another and count no photos."""
    shown = {*COLUMNS, *SHOWN_ELSEWHERE}
    return {name: value for name, value in metrics.items() if name.rpartition("/")[2] not in shown}


def _rows(metrics: Mapping[str, float], columns: Collection[str]) -> Rows:
    rows: Rows = {}
    for name, value in metrics.items():
        prefix, _, metric = name.rpartition("/")
        if metric in columns:
            rows.setdefault(prefix, {})[metric] = Cell(value)
    order = sorted(rows, key=lambda prefix: (SOURCES.index(_source(prefix)), prefix))
    return {prefix: rows[prefix] for prefix in order}


def _interval(metrics: Mapping[str, float], prefix: str, column: str) -> str:
    """The interval of a number, '' if it has none."""
    ends = [metrics.get(f"{_path(prefix, column)}/{end}") for end in ("low", "high")]
    return "" if None in ends else "{:.1f} – {:.1f}".format(*ends)


def _threshold(metrics: Mapping[str, float], prefix: str, column: str) -> str:
    """The threshold of a number; of one at a threshold of CHOSEN, its difference to the best."""
    if not set(CHOSEN) & set(prefix.split("/")):
        threshold = metrics.get(f"{_path(prefix, column)}/threshold")
        return "" if threshold is None else f"at {threshold:.3f}"
    best = _path("/".join(part for part in prefix.split("/") if part not in CHOSEN), column)
    return f"{metrics[_path(prefix, column)] - metrics[best]:+.1f}".replace("-", "−")


def _path(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _source(prefix: str) -> str:
    return next((part for part in prefix.split("/") if part in SOURCES), "")
