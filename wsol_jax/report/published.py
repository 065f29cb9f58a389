"""What the papers print: docs/published.csv, one number a line."""

import csv
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parents[2] / "docs" / "published.csv"
COLUMNS = ("paper", "table", "dataset", "method", "backbone", "metric", "value", "note")
PAPERS = {
    "psol": "PSOL",
    "dawsol": "DA-WSOL",
    "dawsol_readme": "DA-WSOL’s repository",
    "wsolevaluation": "wsolevaluation",
}


class Number(NamedTuple):
    """A line of docs/published.csv.

    Attributes:
        paper: a key of `PAPERS`.
        table: where it stands there, e.g. 'Table 2'.
        dataset: 'cub', 'ilsvrc' or 'openimages'.
        method: as it is called there, without its citation.
        backbone: likewise; '' where the method has none.
        metric: our name of it; percent, but for parameters_millions, flops_billions, train_ms and test_ms (of a photo)
            and train_photos.
        value: the number, with the digits that are printed.
        note: what one must know of it: misprints, contradictions, another protocol; mostly ''.
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
        source: the paper and its table, in words.
        method: as it is called there.
        backbone: likewise.
        values: metric -> the number, with the digits that are printed.
        notes: metric -> what one must know of that number.
    """

    source: str
    method: str
    backbone: str
    values: dict[str, str]
    notes: dict[str, str]


def read_published(path: Path = FILE) -> list[Number]:
    """Every published number; none where the file is missing, as it is where only the package is installed."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Number(*(line[column] for column in COLUMNS)) for line in csv.DictReader(file)]


def published_rows(dataset: str, metrics: Collection[str], path: Path = FILE) -> list[Row]:
    """The rows of the published tables that have one of these metrics on a dataset, in the order of the file.

    Args:
        dataset: 'cub', 'ilsvrc' or 'openimages'; '' is none of them.
        metrics: our names of them.
        path: of the numbers.
    """
    rows: dict[tuple[str, ...], Row] = {}
    for number in read_published(path):
        if number.dataset != dataset or number.metric not in metrics:
            continue
        key = (f"{PAPERS[number.paper]}, {number.table}", number.method, number.backbone)
        row = rows.setdefault(key, Row(*key, values={}, notes={}))
        row.values[number.metric] = number.value
        if number.note:
            row.notes[number.metric] = number.note
    return list(rows.values())
