"""Pseudo boxes that people corrected: they replace the computed ones, and photos without an object are left out."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from wsol_jax import boxes
from wsol_jax.data.matching import PhotoBoxes, read_boxes
from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import to_path
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.stages.workdir import corrections_file


class Corrections(NamedTuple):
    """The photos that people have seen.

    Attributes:
        boxes: path -> its corrected box, [4], normalised xyxy.
        left_out: paths of the photos without an object.
    """

    boxes: Mapping[str, np.ndarray]
    left_out: frozenset[str]


def read_corrections(path: Path, dataset: Dataset, report: Callable[[str], None]) -> Corrections:
    """Return the corrected boxes of a COCO file or a Label Studio export, for any of the photos.

    A photo that the file has without a box shows no object: an image without annotations in COCO, a task that was
    submitted without a rectangle in Label Studio. Of several boxes the largest is taken, of those of the photo's own
    class if there are any; both choices are reported, with counts.

    Args:
        path: the file.
        dataset: the photos.
        report: receives each line about the file.

    Raises:
        InputError: as `matching.read_boxes`; or no photo has a box.
    """
    drawn = read_boxes(path, dataset, report)
    candidates = {name: of_photo.own if len(of_photo.own) else of_photo.others for name, of_photo in drawn.items()}
    corrected = {name: _largest(several) for name, several in candidates.items() if len(several)}
    if not corrected:
        raise InputError(f"{path}: no photo has a box; expected corrected boxes")
    for line in _choices(drawn, candidates):
        report(f"{path}: {line}")
    return Corrections(corrected, frozenset(candidates) - frozenset(corrected))


def correct(records: Sequence[Record], computed: Predictions, corrections: Corrections) -> Predictions:
    """Return the boxes of n photos with the corrected ones in place of the computed ones, with a score of 1."""
    box, score, fallback = (np.array(column) for column in computed[:3])
    for i, record in enumerate(records):
        if record.path in corrections.boxes:
            box[i], score[i], fallback[i] = corrections.boxes[record.path], 1, False
    return Predictions(box, score, fallback)


def whole_photos(records: Sequence[Record]) -> Predictions:
    """Return the whole photo as the box of each of n photos, with a score of 0."""
    count = len(records)
    return Predictions(np.tile([0.0, 0.0, 1.0, 1.0], (count, 1)), np.zeros(count, np.float32), np.ones(count, bool))


def write_corrections(workdir: Path, corrections: Corrections) -> None:
    """Write the names of the corrected photos, and of those that are left out."""
    names = {"corrected": sorted(corrections.boxes), "left_out": sorted(corrections.left_out)}
    text = json.dumps(names, indent=2)
    write_atomically(corrections_file(workdir), lambda file: file.write(text.encode()))


def corrected_names(workdir: Path) -> tuple[set[str], set[str]]:
    """Return the paths of the corrected photos and of those that are left out; both are empty without corrections."""
    file = corrections_file(workdir)
    names = json.loads(file.read_text()) if file.exists() else {"corrected": [], "left_out": []}
    return set(names["corrected"]), set(names["left_out"])


def with_empty_photos(dataset: Dataset, source: str) -> Dataset:
    """Return a dataset whose records have `is_empty` by a file of corrected boxes; those of training are counted.

    Args:
        dataset: the photos.
        source: `pseudo.source`; any but a .json file has no such photo.

    Raises:
        InputError: as `read_corrections`.
    """
    if not source.endswith(".json"):
        return dataset
    left_out = read_corrections(to_path(source), dataset, lambda line: None).left_out
    splits = {
        split: [record._replace(is_empty=record.path in left_out) for record in records]
        for split, records in dataset.splits.items()
    }
    of_training = splits.get("train", ())
    if count := sum(record.is_empty for record in of_training):
        logging.info("%d of %d training photos show no object and train no network", count, len(of_training))
    return dataset._replace(splits=splits)


def _largest(several: np.ndarray) -> np.ndarray:
    return several[int(boxes.area(several).argmax())]


def _choices(drawn: Mapping[str, PhotoBoxes], candidates: Mapping[str, np.ndarray]) -> Iterator[str]:
    nothing = sum(not len(several) for several in candidates.values())
    yield f"{len(drawn) - nothing} corrected photos; {nothing} without an object, which no network learns"
    if several := sum(len(of_photo) > 1 for of_photo in candidates.values()):
        yield f"{several} photos have several boxes; the largest is taken"
    if others := sum(len(of_photo.others) > 0 and not len(of_photo.own) for of_photo in drawn.values()):
        yield f"the boxes of {others} photos are of another class; the photos keep their class"
