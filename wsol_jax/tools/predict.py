"""Predict boxes and classes of photos with the networks of a finished run.

    wsol_jax predict RUN PHOTOS --out=DIR

RUN is the workdir of a PSOL, -Joint or score-map run; PHOTOS a photo, or a folder with photos at any depth, with or
without classes. DIR then holds boxes.parquet, boxes.csv, coco.json, label_studio.json, yolo/ and index.html. Photos
that cannot be read are listed in unreadable.csv, and the others are done.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.errors import InputError
from wsol_jax.model.load import load
from wsol_jax.model.model import CLASSES, MAPS, Model
from wsol_jax.model.prediction import Prediction
from wsol_jax.paths import to_path
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.report.cards import Photo, View
from wsol_jax.report.page import Page, write_page
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
    done = model.predict([root / name for name in names], batch_size)
    unreadable = {name: one.error for name, one in zip(names, done, strict=True) if one.error}
    if len(unreadable) == len(names):
        raise InputError(f"{root}: none of {len(names)} photos can be read; the first: {done[0].error}")
    kept = [(name, one) for name, one in zip(names, done, strict=True) if not one.error]
    records = [Record(name, -1, one.size, NO_BOXES) for name, one in kept]
    classes = model.classes if CLASSES in model.networks else ["object"]
    predictions = as_table([one for _, one in kept], classes)
    write_results(out, records, predictions, classes, model.title, unreadable)
    write_page(out, _page(model, root, records, predictions, [one for _, one in kept], out.resolve().name))


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


def _page(
    model: Model, root: Path, records: Sequence[Record], table: Predictions, done: Sequence[Prediction], name: str
) -> Page:
    number = {name: i for i, name in enumerate(model.classes)}

    def photos() -> Iterator[Photo]:
        for i, record in enumerate(records):
            top5 = [(number[name], probability) for name, probability in done[i].top5]
            score = None if table.score is None else float(table.score[i])
            photo = Photo(record.path, -1, model.pixels(root / record.path), NO_BOXES, top5=top5, score=score)
            if MAPS in model.networks:
                view = View(model.title, done[i].heat_map, fixed=table.box[i])
                yield photo._replace(views=[view])
            else:
                yield photo._replace(predicted=table.box[i])

    return Page(
        title=f"{model.title}: {name}",
        metrics={},
        classes=model.classes,
        photos=photos(),
        results={},
        losses={},
        config=f"{len(records)} photos of {root}",
    )
