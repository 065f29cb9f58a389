"""The stage `combine` (PSOL, Table 4): every listed localizer with every listed classifier, in one table."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from scipy.special import softmax

from wsol_jax.arrays import read_array
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.direct_boxes import compute, measure
from wsol_jax.predictions.predictions import AT_ONCE, Predictions, concatenate, join, most_probable
from wsol_jax.predictions.table import read_images, read_predictions
from wsol_jax.stages.context import Context
from wsol_jax.stages.result_table import write_table
from wsol_jax.stages.sources import Source, parse_sources
from wsol_jax.stages.stage import Stage
from wsol_jax.stages.workdir import combine_folder, logits_file

Logits = tuple[np.ndarray, np.ndarray]
"""The row of each of n records, int64 [n], and the logits of all m rows of a table, floats [m, k]."""

METRICS = ("gt_known_loc", "top1_loc", "top5_loc", "top1_cls", "top5_cls")


def defaults() -> ConfigDict:
    """Return the keys of `combine` with their defaults."""
    return ConfigDict(
        dict(
            split="test",
            boxes="",  # NAME=PLACE,...: localizers; a place is the workdir of a run or a FILE.parquet
            classes="",  # NAME=PLACE,...: classifiers; PLACE+PLACE is an ensemble, the mean of their softmax
        )
    )


def check_keys(config: ConfigDict, devices: int) -> None:
    """Accept any value: all depends on the photos and on other runs, see `check`."""


def run(config: ConfigDict, context: Context) -> None:
    """Write combine/table.parquet and combine/table.md, a row for every localizer with every classifier."""
    records = _records(config, context)
    boxes = [(source.name, _boxes(source, records)) for source in parse_sources(config.boxes, config.split)]
    classes = [(source.name, _classes(source, records)) for source in parse_sources(config.classes, config.split)]
    rows = []
    for localizer, box in boxes:
        for classifier, top5 in classes or [("", None)]:
            numbers = compute(measure(records, join(box, top5)))
            row = {name: numbers[name] for name in METRICS if name in numbers}
            rows.append({"localizer": localizer, "classifier": classifier} | row)
    write_table(combine_folder(context.workdir), rows)


def check(config: ConfigDict, context: Context) -> None:
    """Raise InputError if no localizer is listed, or a source cannot be read."""
    records = _records(config, context)
    if not config.boxes:
        raise InputError("boxes is ''; expected NAME=PLACE,..., a place being a run's workdir or a .parquet")
    for source in parse_sources(config.boxes, config.split):
        _boxes(source, records)
    for source in parse_sources(config.classes, config.split):
        if len(source.files) > 1:
            _members(source, records)
        else:
            _classes(source, records)


def files(config: ConfigDict) -> dict[str, Path]:
    """Return the files of other runs that the stage reads, by name."""
    listed = parse_sources(config.boxes, config.split) + parse_sources(config.classes, config.split)
    tables = [file for source in listed for file in source.files]
    return {str(file): file for file in [*tables, *map(logits_file, tables)]}


def _records(config: ConfigDict, context: Context) -> Sequence[Record]:
    if config.split not in context.dataset.splits:
        raise InputError(f"split is {config.split!r}; expected one of {', '.join(context.dataset.splits)}")
    return context.dataset.splits[config.split]


def _boxes(source: Source, records: Sequence[Record]) -> Predictions:
    if len(source.files) > 1:
        raise InputError(f"boxes: {source.name} is an ensemble; expected one place, only classes can be averaged")
    return read_predictions(source.files[0], records, ("box",))


def _classes(source: Source, records: Sequence[Record]) -> Predictions:
    """The most probable classes of a source; of an ensemble those of the mean softmax."""
    if len(source.files) == 1:
        return read_predictions(source.files[0], records, ("top5_class",))
    members, parts = _members(source, records), []
    for start in range(0, len(records), AT_ONCE):
        chosen = slice(start, start + AT_ONCE)
        logits = [of_rows[rows[chosen]].astype(np.float64) for rows, of_rows in members]
        parts.append(most_probable(np.mean([softmax(one, axis=-1) for one in logits], axis=0)))
    return concatenate(parts)


def _members(source: Source, records: Sequence[Record]) -> list[Logits]:
    """The logits of the members of an ensemble, which all have the same classes."""
    members = [read_logits(file, records) for file in source.files]
    if len({of_rows.shape[1] for _, of_rows in members}) > 1:
        raise InputError(f"classes: the members of {source.name} do not have the same number of classes")
    return members


def read_logits(table: Path, records: Sequence[Record]) -> Logits:
    """Return the logits behind a table of predictions, left in their file if it is a local one.

    Raises:
        InputError: there is no file, it has fewer rows than the table, or a record has no row.
    """
    rows, file = read_images(table, records), logits_file(table)
    if not file.is_file():
        raise InputError(f"{file}: no such file; an ensemble needs the logits of all classes")
    logits = read_array(file, (None, None), mapped=True, advice="redo the stage predict of its run")
    if len(logits) <= rows.max():
        raise InputError(f"{file}: an array of shape {logits.shape}; expected a row for each row of {table.name}")
    return rows, logits


STAGE = Stage(
    key="combine",
    defaults=defaults,
    check_keys=check_keys,
    outputs=("combine",),
    run=run,
    check=check,
    files=files,
)
