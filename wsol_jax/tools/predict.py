"""Predict boxes and classes of photos with the networks of a finished run.

    wsol_jax predict RUN PHOTOS --out=DIR

RUN is the workdir of a PSOL, -Joint or score-map run; PHOTOS a photo, or a folder with photos at any depth, with or
without classes. DIR then holds boxes.parquet, boxes.csv, coco.json, label_studio.json, yolo/ and index.html. Photos
that cannot be read are listed in unreadable.csv, and the others are done.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging

from wsol_jax.arrays import scratch
from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.score_maps import score_map
from wsol_jax.model.load import load
from wsol_jax.model.model import CLASSES, MAPS, Model
from wsol_jax.model.prediction import Prediction
from wsol_jax.paths import to_path
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.progress import track
from wsol_jax.report.cards import PHOTO, Photo, View, thumbnail
from wsol_jax.report.page import Page, write_page
from wsol_jax.stages.report_photos import AT_ONCE, DOUBTFUL
from wsol_jax.threads import in_threads
from wsol_jax.tools.command_line import Parser, exit_code
from wsol_jax.tools.results import list_photos, write_results


def main(arguments: Sequence[str]) -> int:
    """Predict the photos of a command line; return the exit code."""

    def command() -> None:
        parser = Parser(prog="wsol_jax predict", description=__doc__)
        parser.add_argument("run", metavar="RUN", type=to_path, help="the workdir of a finished run")
        parser.add_argument("photos", metavar="PHOTOS", type=to_path, help="a photo, or a folder of photos")
        parser.add_argument("--out", metavar="DIR", type=to_path, required=True, help="the folder of all results")
        parser.add_argument("--batch_size", type=int, default=32, help="photos that pass at once (default: 32)")
        parser.add_argument(
            "--levels",
            metavar="BLACK,WHITE",
            type=levels,
            help="of photos of more than 8 bits (default: those of the run's own photos)",
        )
        known = parser.parse_args(arguments)
        root, names = list_photos(known.photos, known.out)
        predict_photos(load(known.run, levels=known.levels), root, names, known.out, known.batch_size)

    return exit_code(command)


def levels(text: str) -> tuple[float, ...]:
    """Return the numbers of `--levels`."""
    return tuple(float(number) for number in text.split(","))


def predict_photos(model: Model, root: Path, names: Sequence[str], out: Path, batch_size: int) -> None:
    """Write the predictions of a model for photos, in all formats, and their page.

    Args:
        model: with boxes or maps.
        root: a folder.
        names: the photos' paths relative to it.
        out: the folder of all results.
        batch_size: see `Model.predict`.

    Raises:
        InputError: the model predicts no boxes, or no photo can be read.
    """
    if set(model.networks) == {CLASSES}:
        raise InputError("this run has a classifier alone, which draws no boxes; expected a localizer or score maps")
    done, maps = _predict(model, [root / name for name in names], batch_size, out)
    unreadable = {name: one.error for name, one in zip(names, done, strict=True) if one.error}
    if len(unreadable) == len(names):
        raise InputError(f"{root}: none of {len(names)} photos can be read; the first: {done[0].error}")
    rows = [row for row, one in enumerate(done) if not one.error]
    records = [Record(names[row], -1, done[row].size, NO_BOXES) for row in rows]
    classes = model.classes if CLASSES in model.networks else ["object"]
    predictions = as_table([done[row] for row in rows], classes)
    write_results(out, records, predictions, classes, model.title, unreadable)
    maps = None if maps is None else [maps[row] for row in rows]
    write_page(out, _page(model, root, records, predictions, maps, out.resolve().name))


def as_table(predictions: Sequence[Prediction], classes: Sequence[str]) -> Predictions:
    """Return predictions of one box each as the table that all formats are written from.

    Args:
        predictions: of n photos.
        classes: the classes' names.
    """
    number = {name: i for i, name in enumerate(classes)}
    score = np.concatenate([one.scores for one in predictions])
    has_classes = predictions[0].label is not None
    return Predictions(
        box=np.stack([one.boxes[0] / np.tile(one.size, 2) for one in predictions]),
        score=None if np.isnan(score).any() else score,
        top5_class=np.array([[number[name] for name, _ in one.top5] for one in predictions]) if has_classes else None,
        top5_prob=np.array([[p for _, p in one.top5] for one in predictions]) if has_classes else None,
    )


def _predict(
    model: Model, photos: Sequence[Path], batch_size: int, out: Path
) -> tuple[list[Prediction], np.ndarray | None]:
    """The predictions for n photos without their maps, and score maps [n, h, w], in a file if they are large."""
    done, maps = [], None
    for row, one in enumerate(model.stream(photos, batch_size)):
        if MAPS in model.networks and not one.error:
            if maps is None:
                maps = scratch(out, (len(photos), *one.activation.shape), one.activation.dtype)
            maps[row] = one.activation
        done.append(dataclasses.replace(one, activation=None))
    return done, maps


def _page(
    model: Model,
    root: Path,
    records: Sequence[Record],
    table: Predictions,
    maps: Sequence[np.ndarray] | None,
    name: str,
) -> Page:
    """The page of as many photos as the report of a run without true boxes shows."""
    scores = np.zeros(len(records)) if table.score is None else table.score
    shown = np.sort(np.argsort(scores, kind="stable")[:DOUBTFUL]).tolist()
    config = f"{len(records)} photos of {root}"
    if len(shown) < len(records):
        which = "the first ones" if table.score is None else "those with the lowest confidence"
        config = f"{len(shown)} of {config}, {which}"
        logging.info("page: %s", config)

    def photo(i: int) -> Photo:
        image = thumbnail(model.pixels(root / records[i].path), PHOTO)
        top5 = [] if table.top5_class is None else zip(table.top5_class[i].tolist(), table.top5_prob[i], strict=True)
        score = None if table.score is None else float(table.score[i])
        one = Photo(records[i].path, -1, image, NO_BOXES, top5=list(top5), score=score)
        if maps is None:
            return one._replace(predicted=table.box[i])
        heat_map = score_map(maps[i], image.shape[1::-1])
        return one._replace(views=[View(model.title, heat_map, fixed=table.box[i])])

    return Page(
        title=f"{model.title}: {name}",
        metrics={},
        classes=model.classes,
        photos=track(in_threads(photo, shown, AT_ONCE), len(shown), "page"),
        results={},
        losses={},
        config=config,
    )
