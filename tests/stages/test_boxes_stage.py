"""The delivered boxes: of the more confident source, for every photo of all splits."""

import logging

import experiments
import numpy as np
import pytest

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions, write_predictions


def table(file, records, score):
    boxes = np.tile([0.1, 0.1, 0.6, 0.6], (len(records), 1))
    write_predictions(file, records, Predictions(boxes, np.full(len(records), score, np.float32)))
    return str(file)


@pytest.mark.parametrize(("score", "source"), [(0.3, "pseudo"), (1.5, "localizer")])
def test_the_more_confident_source_is_delivered(score, source, tmp_path, caplog):
    splits = experiments.scenes().splits
    records = [record for of_split in splits.values() for record in of_split]
    keys = {"stages": "pseudo_boxes,predict,boxes", "pseudo.source": "truth", "predict.splits": "all"}
    keys["predict.boxes_from"] = table(tmp_path / "b.parquet", records, score)
    with caplog.at_level(logging.INFO):
        run(experiments.tiny(**keys), tmp_path / "w")
    assert f"boxes: {source}, of {len(records)} photos (right, by confidence: pseudo 100 %" in caplog.text
    found = read_predictions(tmp_path / "w" / "boxes" / "boxes.parquet", records, ("box", "score"))
    truth = np.concatenate([record.boxes for record in records])
    expected = truth if source == "pseudo" else np.tile([0.1, 0.1, 0.6, 0.6], (len(records), 1))
    np.testing.assert_allclose(found.box, expected, atol=1e-9)


def test_a_source_without_a_box_for_every_photo_is_not_delivered(tmp_path):
    keys = {"stages": "pseudo_boxes,predict,boxes", "pseudo.source": "truth", "boxes.source": "localizer"}
    keys["predict.boxes_from"] = table(tmp_path / "b.parquet", experiments.scenes().splits["test"], 0.5)
    with pytest.raises(InputError, match=r"boxes\.source is 'localizer'; it has no box for every photo, but pseudo"):
        run(experiments.tiny(**keys), tmp_path / "w")
