"""The report's tables: the names and numbers of metrics.json in rows and columns."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from wsol_jax.report.figures import NAMES

BOX_COLUMNS = {
    "gt_known_loc": ("GT-known Loc", "the box is right, whatever the class"),
    "top1_loc": ("Top-1 Loc", "the box is right and the true class is the likeliest"),
    "top5_loc": ("Top-5 Loc", "the box is right and the true class is among the five likeliest"),
    "top1_cls": ("Top-1 Cls", "the true class is the likeliest"),
    "top5_cls": ("Top-5 Cls", "the true class is among the five likeliest"),
}
MAP_COLUMNS = {
    "max_box_acc_v2": ("MaxBoxAccV2", "the mean of the next three"),
    "max_box_acc_v2_iou30": ("@ 30", "a box around any part of the map has an IoU of at least 0.3"),
    "max_box_acc_v2_iou50": ("@ 50", "a box around any part of the map has an IoU of at least 0.5; DA-WSOL’s GT-known"),
    "max_box_acc_v2_iou70": ("@ 70", "a box around any part of the map has an IoU of at least 0.7"),
    "max_box_acc": ("MaxBoxAcc", "the box around the largest part of the map has an IoU of at least 0.5"),
    "pxap": ("PxAP", "the area under precision over recall of all pixels"),
    "piou": ("pIoU", "the highest IoU of the pixels above a threshold with all objects’ pixels"),
    "top1_loc_map": ("Top-1 Loc (map)", "as @ 50, and the true class is the likeliest"),
    "top1_cls": ("Top-1 Cls", "the true class is the likeliest"),
}
COLUMNS = BOX_COLUMNS | MAP_COLUMNS
WHOSE = ("", "pseudo", "center_box", "center_gaussian")  # whose numbers, '' the method's own, in the order of the rows
WORDS = NAMES | {
    "train": "training photos",
    "val": "validation photos",
    "psol_code": "PSOL code’s protocol",
    "exact": "exact boxes",
    "val_threshold": "validated threshold",
}
AMONG_THE_FIRST = ("val_threshold", "center_gaussian/val_threshold")
TOLD_ELSEWHERE = {"low", "high", "threshold", "photos", "photos_with_boxes", "maps", "maps_with_boxes"}


class Cell(NamedTuple):
    """A number of a table, in percent, and what stands below it in small print."""

    value: float
    below: str = ""


Rows = dict[str, dict[str, Cell]]
"""A row's prefix ('' or, say, 'pseudo/train') or name -> column -> cell."""


def box_table(metrics: Mapping[str, float]) -> Rows:
    """The numbers of one box a photo with their intervals; the rows come by whose they are, as in `WHOSE`."""
    rows = _rows(metrics, BOX_COLUMNS)
    for prefix, cells in rows.items():
        for column, cell in cells.items():
            ends = [metrics.get(f"{_path(prefix, column)}/{end}") for end in ("low", "high")]
            if None not in ends:
                cells[column] = cell._replace(below="{:.1f} – {:.1f}".format(*ends))
    return rows


def map_table(metrics: Mapping[str, float]) -> Rows:
    """The numbers of maps with their thresholds; at validated ones, also the difference that this makes.

    The best centred box is a row as well: as one box a photo it has a MaxBoxAcc, which is its GT-known Loc.
    """
    if "max_box_acc" in metrics and "center_box/gt_known_loc" in metrics:
        metrics = {**metrics, "center_box/max_box_acc": metrics["center_box/gt_known_loc"]}
    rows = _rows(metrics, MAP_COLUMNS)
    rows = {prefix: cells for prefix, cells in rows.items() if set(cells) - {"top1_cls"}}
    for prefix, cells in rows.items():
        for column, cell in cells.items():
            cells[column] = cell._replace(below=_threshold(metrics, prefix, column))
    rows.get("center_box", {}).pop("top1_cls", None)
    return rows


def first(rows: Rows) -> Rows:
    """The rows that need no words to be understood: each one's own, of the test photos."""
    return {prefix: cells for prefix, cells in rows.items() if prefix in (*WHOSE, *AMONG_THE_FIRST)}


def others(rows: Rows) -> Rows:
    """The rows that are not among `first`: other photos, other protocols."""
    return {prefix: cells for prefix, cells in rows.items() if prefix not in first(rows)}


def named(rows: Rows, ours: str) -> Rows:
    """Rows by their names in words, `ours` for the method's own."""
    return {row_name(prefix, ours): cells for prefix, cells in rows.items()}


def used(columns: Collection[str], rows: Rows) -> dict[str, tuple[str, str]]:
    """Those of the columns that any row has something in."""
    return {column: COLUMNS[column] for column in columns if any(column in cells for cells in rows.values())}


def row_name(prefix: str, ours: str) -> str:
    """A prefix of metric names in words: 'pseudo/train' is 'Pseudo boxes · training photos'."""
    whose = _whose(prefix)
    rest = [word for word in prefix.split("/") if word != whose]
    return " · ".join([WORDS[whose] if whose else ours, *(WORDS.get(word, word) for word in rest)])


def other_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that have no column, stand below no number and count no photos."""
    shown = {*COLUMNS, *TOLD_ELSEWHERE}
    return {name: value for name, value in metrics.items() if name.rpartition("/")[2] not in shown}


def _rows(metrics: Mapping[str, float], columns: Collection[str]) -> Rows:
    rows: Rows = {}
    for name, value in metrics.items():
        prefix, _, metric = name.rpartition("/")
        if metric in columns:
            rows.setdefault(prefix, {})[metric] = Cell(value)
    return {prefix: rows[prefix] for prefix in sorted(rows, key=lambda prefix: (WHOSE.index(_whose(prefix)), prefix))}


def _threshold(metrics: Mapping[str, float], prefix: str, column: str) -> str:
    """At which threshold a number was reached; for a validated one, how far it is from the best."""
    if "val_threshold" not in prefix.split("/"):
        found = metrics.get(f"{_path(prefix, column)}/threshold")
        return "" if found is None else f"at {found:.3f}"
    best = _path("/".join(word for word in prefix.split("/") if word != "val_threshold"), column)
    return f"{metrics[_path(prefix, column)] - metrics[best]:+.1f}".replace("-", "−")


def _path(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _whose(prefix: str) -> str:
    return next((word for word in prefix.split("/") if word in WHOSE), "")
