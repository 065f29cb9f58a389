"""The delivered boxes: of the source that is more confident on new photos, for every photo of all splits."""

import logging

import experiments
import numpy as np
import pytest

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions, write_predictions

PSEUDO_AND_MORE = {"stages": "pseudo_boxes,predict,boxes", "pseudo.source": "truth", "predict.splits": "all"}
SQUARE = np.array([0.1, 0.1, 0.6, 0.6])


def table(file, records, score):
    boxes = np.tile(SQUARE, (len(records), 1))
    write_predictions(file, records, Predictions(boxes, np.full(len(records), score, np.float32)))
    return str(file)


def delivered(workdir):
    records = [record for of_split in experiments.scenes().splits.values() for record in of_split]
    truth = np.concatenate([record.boxes for record in records])
    return read_predictions(workdir / "boxes" / "boxes.parquet", records, ("box", "score")), truth, records


@pytest.mark.parametrize(
    ("chosen", "new", "source"),  # of the localizer: its confidence on photos that were not trained on
    [
        ("auto", 0.3, "pseudo"),
        ("auto", 1.5, "localizer"),
        ("localizer", 0.3, "localizer"),
        ("mean_box", 0.3, "mean_box"),
    ],
)
def test_the_source_that_is_more_confident_on_new_photos_is_delivered(chosen, new, source, tmp_path, caplog):
    splits = experiments.scenes().splits
    records = [record for of_split in splits.values() for record in of_split]
    score = np.concatenate([np.full(len(splits[split]), 9.0 if split == "train" else new) for split in splits])
    keys = {"boxes.source": chosen, "predict.boxes_from": table(tmp_path / "b.parquet", records, score)}
    with caplog.at_level(logging.INFO):
        run(experiments.tiny(**PSEUDO_AND_MORE, **keys), tmp_path / "w")
    assert f"boxes: {source}, of {len(records)} photos: " in caplog.text
    assert f"not trained on: pseudo 100 %, localizer {100 * new:.0f} %, mean_box 100 %" in caplog.text
    boxes, truth, _ = delivered(tmp_path / "w")
    expected = {"pseudo": truth, "localizer": SQUARE, "mean_box": (truth + SQUARE) / 2}[source]
    np.testing.assert_allclose(boxes.box, np.broadcast_to(expected, truth.shape), atol=1e-9)


def test_without_pseudo_boxes_the_localizer_is_delivered(tmp_path, caplog):
    records = [record for of_split in experiments.scenes().splits.values() for record in of_split]
    keys = {"predict.splits": "all", "predict.boxes_from": table(tmp_path / "b.parquet", records, 0.3)}
    with caplog.at_level(logging.INFO):
        run(experiments.tiny(stages="predict,boxes", **keys), tmp_path / "w")
    assert "boxes: localizer, of" in caplog.text


def test_a_source_without_a_box_for_every_photo_is_not_delivered(tmp_path):
    keys = {"stages": "pseudo_boxes,predict,boxes", "pseudo.source": "truth", "boxes.source": "localizer"}
    keys["predict.boxes_from"] = table(tmp_path / "b.parquet", experiments.scenes().splits["test"], 0.5)
    with pytest.raises(InputError, match=r"boxes\.source is 'localizer'; it has no box for every photo, but pseudo"):
        run(experiments.tiny(**keys), tmp_path / "w")
