"""Any localizer with any classifier (PSOL, Table 4): every pair of those that are listed, in one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from absl import logging
from ml_collections import ConfigDict
from scipy.special import softmax

from wsol_jax.context import Context
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.direct_boxes import compute, measure
from wsol_jax.files import write_atomically
from wsol_jax.predictions import join, likeliest
from wsol_jax.tables import Predictions, read_images, read_predictions

METRICS = ("gt_known_loc", "top1_loc", "top5_loc", "top1_cls", "top5_cls")


class Source(NamedTuple):
    """Something that says boxes or classes.

    Attributes:
        name: what the table calls it.
        files: its predictions; several are an ensemble.
    """

    name: str
    files: list[Path]


def combine(config: ConfigDict, context: Context) -> None:
    """Writes combine/table.parquet and combine/table.md: a row for every localizer with every classifier."""
    records = _records(config, context)
    boxes = [(source.name, _boxes(source, records)) for source in sources(config.boxes, config.split)]
    classes = [(source.name, _classes(source, records)) for source in sources(config.classes, config.split)]
    rows = []
    for localizer, box in boxes:
        for classifier, top5 in classes or [("", None)]:
            numbers = compute(measure(records, join(box, top5)))
            row = {name: numbers[name] for name in METRICS if name in numbers}
            rows.append({"localizer": localizer, "classifier": classifier} | row)
    write_table(context.workdir / "combine", rows)


def check(config: ConfigDict, context: Context) -> None:
    """Raises InputError if nothing is listed, or what is listed cannot be read."""
    records = _records(config, context)
    if not config.boxes:
        raise InputError("boxes lists nothing; expected NAME=PLACE,..., a place being a run's workdir or a .parquet")
    for source in sources(config.boxes, config.split):
        _boxes(source, records)
    for source in sources(config.classes, config.split):
        _classes(source, records)


def files(config: ConfigDict) -> list[Path]:
    """The files of other runs that `combine` reads."""
    listed = sources(config.boxes, config.split) + sources(config.classes, config.split)
    tables = [file for source in listed for file in source.files]
    return [*tables, *map(logits_file, tables)]


def sources(listed: str, split: str) -> list[Source]:
    """What a list of NAME=PLACE names; a place is a run's workdir or a Parquet file, PLACE+PLACE an ensemble.

    Without a name it is called like its places.

    Raises:
        InputError: a name comes twice.
    """
    found = []
    for item in filter(None, (item.strip() for item in listed.split(","))):
        name, _, places = item.rpartition("=")
        paths = [Path(place) for place in places.split("+")]
        tables = [path if path.suffix == ".parquet" else path / "predictions" / f"{split}.parquet" for path in paths]
        found.append(Source(name or "+".join(path.stem for path in paths), tables))
    names = [source.name for source in found]
    if len(set(names)) < len(names):
        raise InputError(f"{max(names, key=names.count)!r} is listed twice; expected NAME=PLACE with different names")
    return found


def logits_file(table: Path) -> Path:
    """Where the logits behind a table of predictions are, in the order of its rows."""
    return table.with_suffix(".logits.npy")


def write_table(folder: Path, rows: Sequence[dict[str, str | float]], below: str = "") -> None:
    """Writes table.parquet and table.md, and logs it; `below` is a text that stands under the latter."""
    text = markdown(rows) + below
    write_atomically(folder / "table.parquet", lambda file: pq.write_table(pa.Table.from_pylist(rows), file))
    write_atomically(folder / "table.md", lambda file: file.write(text.encode()))
    logging.info("%s\n%s", folder / "table.md", text)


def markdown(rows: Sequence[dict[str, str | float]]) -> str:
    """Rows with the same keys as a Markdown table, numbers with two digits."""
    lines = [list(rows[0]), ["---" if type(value) is str else "---:" for value in rows[0].values()]]
    lines += [[value if type(value) is str else f"{value:.2f}" for value in row.values()] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _records(config: ConfigDict, context: Context) -> Sequence[Record]:
    if config.split not in context.dataset.splits:
        raise InputError(f"split is {config.split!r}; expected one of {', '.join(context.dataset.splits)}")
    return context.dataset.splits[config.split]


def _boxes(source: Source, records: Sequence[Record]) -> Predictions:
    if len(source.files) > 1:
        raise InputError(f"boxes: {source.name} is an ensemble; expected one place, only classes can be averaged")
    return read_predictions(source.files[0], records, ("box",))


def _classes(source: Source, records: Sequence[Record]) -> Predictions:
    """The likeliest classes of a source; of an ensemble those of the mean softmax."""
    if len(source.files) == 1:
        return read_predictions(source.files[0], records, ("top5_class",))
    probabilities = [softmax(read_logits(file, records), axis=-1) for file in source.files]
    if len({probability.shape for probability in probabilities}) > 1:
        raise InputError(f"classes: the members of {source.name} do not have the same number of classes")
    return likeliest(np.mean(probabilities, axis=0))


def read_logits(table: Path, records: Sequence[Record]) -> np.ndarray:
    """The logits behind a table of predictions, float64 [n, k], in the order of the records.

    Raises:
        InputError: there are none, they do not have a row for each of the table's, or a record has none.
    """
    rows, file = read_images(table, records), logits_file(table)
    if not file.is_file():
        raise InputError(f"{file}: no such file; an ensemble needs the logits of all classes")
    try:
        logits = np.load(file, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: not a readable array ({str(error).splitlines()[0]})") from error
    if logits.ndim != 2 or len(logits) <= rows.max():
        raise InputError(f"{file}: an array of shape {logits.shape}; expected a row for each row of {table.name}")
    return logits[rows].astype(np.float64)
