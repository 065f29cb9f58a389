"""The delivered boxes: the localizer's unless pseudo boxes are clearly more confident on new photos."""

import logging

import experiments
import numpy as np
import pytest
from ml_collections import ConfigDict

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions, write_predictions
from wsol_jax.stages import boxes
from wsol_jax.stages.context import Context
from wsol_jax.stages.workdir import predictions_file, pseudo_boxes_file

PSEUDO_AND_MORE = {"stages": "pseudo_boxes,predict,boxes", "pseudo.source": "truth", "predict.splits": "all"}
SQUARE = np.array([0.1, 0.1, 0.6, 0.6])


def table(file, records, score):
    boxes = np.tile(SQUARE, (len(records), 1))
    write_predictions(file, records, Predictions(boxes, np.broadcast_to(score, len(records)).astype(np.float32)))
    return str(file)


def delivered(workdir):
    records = [record for of_split in experiments.scenes().splits.values() for record in of_split]
    truth = np.concatenate([record.boxes for record in records])
    return read_predictions(workdir / "boxes" / "boxes.parquet", records, ("box", "score")), truth, records


def stage(workdir, confidence, chosen="auto", **changes):
    """Deliver boxes of hand-written tables: pseudo boxes are true ones, 0.5 sure; the localizer's are `SQUARE`."""
    dataset = experiments.scenes()
    for split, records in dataset.splits.items():
        truth = Predictions(
            np.concatenate([record.boxes for record in records]), np.full(len(records), 0.5, np.float32)
        )
        write_predictions(pseudo_boxes_file(workdir, split), records, truth)
        table(predictions_file(workdir, split), records, 0.9 if split == "train" else confidence)
    config = experiments.load("base", **changes)
    configs = {"pseudo_boxes": config.pseudo, "predict": config.predict}
    boxes.run(ConfigDict({"source": chosen}), Context(workdir, dataset, 0, None, configs))


@pytest.mark.parametrize(
    ("chosen", "confidence", "source"),  # of the localizer, on photos that were not trained on
    [
        ("auto", 0.25, "pseudo"),
        ("auto", 0.75, "localizer"),
        ("localizer", 0.25, "localizer"),
        ("mean_box", 0.25, "mean_box"),
    ],
)
def test_of_two_sources_the_more_confident_on_new_photos_is_delivered(chosen, confidence, source, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        stage(tmp_path, confidence, chosen)
    found, truth, records = delivered(tmp_path)
    assert f"boxes: {source}, of {len(records)} photos: " in caplog.text
    assert f"not trained on: pseudo 50 %, localizer {100 * confidence:.0f} %, mean_box " in caplog.text
    expected = {"pseudo": truth, "localizer": SQUARE, "mean_box": (truth + SQUARE) / 2}[source]
    np.testing.assert_allclose(found.box, np.broadcast_to(expected, truth.shape), atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "whose"),
    [
        ({"pseudo.source": "cam"}, "pseudo"),
        ({"pseudo.source": "truth"}, "pseudo"),
        ({"pseudo.source": "boxes.parquet"}, "pseudo"),
        ({"pseudo.source": "boxes.json", "pseudo.cam_from": "run"}, "pseudo"),
        ({"predict.boxes_from": "b.parquet"}, "localizer"),
        ({"pseudo.source": "cam", "predict.boxes_from": "b.parquet"}, "pseudo and localizer"),
    ],
)
def test_scores_that_are_no_confidences_are_not_compared(changes, whose, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        stage(tmp_path, 0.75, **changes)
    assert f"boxes: pseudo; no calibrated confidence of {whose} on photos" in caplog.text
    assert f"{whose.partition(' ')[0]} " not in caplog.text.partition("not trained on: ")[2].partition("\n")[0]


@pytest.mark.parametrize(("spread", "source"), [(0.02, "pseudo"), (0.5, "localizer")])
def test_pseudo_boxes_have_to_be_clearly_more_confident(spread, source, tmp_path, caplog):
    count = len(experiments.scenes().splits["test"])
    with caplog.at_level(logging.INFO):
        stage(tmp_path, 0.45 + spread * np.linspace(-1, 1, count))
    assert f"boxes: {source}, of" in caplog.text


def test_corrected_boxes_of_ddt_are_compared(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        stage(tmp_path, 0.75, **{"pseudo.source": "boxes.json"})
    assert "boxes: localizer, of" in caplog.text and "no calibrated" not in caplog.text


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
