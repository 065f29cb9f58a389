"""The published results: published.csv, one number a line."""

import csv
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parent / "published.csv"
COLUMNS = ("paper", "table", "dataset", "method", "backbone", "metric", "value", "note")
PAPERS = {
    "psol": "PSOL",
    "dawsol": "DA-WSOL",
    "dawsol_readme": "DA-WSOL’s repository",
    "wsolevaluation": "wsolevaluation",
    "bas": "BAS",
    "spol": "SPOL",
    "isic": "ISIC",
    "cream": "CREAM",
    "c2am": "C2AM",
    "bagcams": "BagCAMs",
    "tscam": "TS-CAM",
    "lctr": "LCTR",
    "scm": "SCM",
    "trt": "TRT",
    "vitol": "ViTOL",
    "sat": "SAT",
    "genpromp": "GenPromp",
}


class Number(NamedTuple):
    """A line of published.csv.

    Attributes:
        paper: a key of `PAPERS`.
        table: its place in the paper, e.g. 'Table 2'; 'repository' for what the method's own repository states.
        dataset: 'cub', 'ilsvrc' or 'openimages'.
        method: the paper's name of the method, without its citation.
        backbone: the paper's name of the backbone; '' where the method has none.
        metric: this package's name of the metric; percent, except for parameters_millions, flops_billions, train_ms
            and test_ms (per photo) and train_photos.
        value: the number, with the printed digits.
        note: a misprint, a contradiction or another protocol; mostly ''.
    """

    paper: str
    table: str
    dataset: str
    method: str
    backbone: str
    metric: str
    value: str
    note: str


class Row(NamedTuple):
    """A row of a published table.

    Attributes:
        source: the paper and its table, e.g. 'PSOL, Table 2'.
        method: the paper's name of the method.
        backbone: the paper's name of the backbone; '' where the method has none.
        values: metric -> the number, with the printed digits.
        notes: metric -> the note on that number, where there is one.
    """

    source: str
    method: str
    backbone: str
    values: dict[str, str]
    notes: dict[str, str]


def read_published() -> list[Number]:
    """Return every published number."""
    with FILE.open(newline="", encoding="utf-8") as file:
        return [Number(*(line[column] for column in COLUMNS)) for line in csv.DictReader(file)]


def published_rows(dataset: str, metrics: Collection[str]) -> list[Row]:
    """Return the rows of the published tables that have one of these metrics on a dataset, in the file's order.

    Args:
        dataset: 'cub', 'ilsvrc' or 'openimages'; '' gives no rows.
        metrics: this package's names of the metrics.
    """
    rows: dict[tuple[str, ...], Row] = {}
    for number in read_published():
        if number.dataset != dataset or number.metric not in metrics:
            continue
        key = (f"{PAPERS[number.paper]}, {number.table}", number.method, number.backbone)
        row = rows.setdefault(key, Row(*key, values={}, notes={}))
        row.values[number.metric] = number.value
        if number.note:
            row.notes[number.metric] = number.note
    return list(rows.values())
