"""Pseudo boxes in place of true ones: whose choose, which count, and one line where they cannot be used."""

import shutil

import experiments
import numpy as np
import pytest

from wsol_jax import run
from wsol_jax.data import load_dataset
from wsol_jax.errors import InputError
from wsol_jax.evaluation.photo_results import statistic
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import write_predictions
from wsol_jax.stages.finished_runs import read_run
from wsol_jax.stages.pseudo_from import choosing_split, files, with_pseudo_boxes


@pytest.fixture(scope="module")
def records():
    return experiments.scenes().splits["test"]


def test_training_photos_choose_or_validation_photos_or_the_evaluated_ones():
    cases = {"test": {"test"}, "val": {"test", "val"}, "train": {"test", "val", "train"}}
    assert {expected: choosing_split("test", splits) for expected, splits in cases.items()} == {n: n for n in cases}


def test_boxes_are_joined_by_image_and_whole_images_are_none(records, tmp_path):
    box = np.random.default_rng(0).uniform(0, 0.5, (len(records), 4)) + np.array([0, 0, 0.6, 0.5])
    table = tmp_path / "a.parquet"
    fallback = np.arange(len(records)) == 1
    write_predictions(table, records[::-1], Predictions(box[::-1], fallback=fallback[::-1]))
    chosen = with_pseudo_boxes(str(table), "test", records)
    assert [len(record.boxes) for record in chosen] == [int(not each) for each in fallback]
    assert not any(record.masks for record in chosen)
    for record, each, old in zip(chosen, box, records, strict=True):
        assert record.path == old.path
        np.testing.assert_allclose(record.boxes, np.clip(each, 0, 1)[None][: len(record.boxes)])
    assert files("") == {} and files(str(table)) == {str(table): table}


def test_pseudo_boxes_that_are_right_choose_as_the_truth_does(tmp_path):
    """A whole run on the maps of another program; a comparison of runs has the same numbers."""
    experiments.write_lists(tmp_path / "data")
    shutil.copytree(tmp_path / "data" / "metadata" / "val", tmp_path / "data", dirs_exist_ok=True)
    keys = {
        "data.dir": str(tmp_path / "data"),
        "maps.dir": str(tmp_path / "maps"),
        "data.lists.boxes": "localization_boxes.txt",
        "stages": "read_maps,evaluate",
    }
    dataset = load_dataset(experiments.tiny("evaluate_maps", **keys).data, seed=0)
    records, rng = dataset.splits["test"], np.random.default_rng(0)
    for record, scene in zip(records, experiments.scenes().splits["test"], strict=True):
        noise, mask = (
            rng.uniform(0, 0.7, (experiments.SIZE,) * 2),
            experiments.scenes().read_mask(scene, experiments.SIZE),
        )
        file = tmp_path / "maps" / f"{record.path.removeprefix('images/')}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, 0.3 * mask + noise)
    table = tmp_path / "p.parquet"
    write_predictions(table, records, Predictions(np.concatenate([record.boxes for record in records])))
    metrics = run(experiments.tiny("evaluate_maps", **keys, **{"evaluate.pseudo_from": str(table)}), tmp_path / "w")
    for name in ("max_box_acc", "max_box_acc_v2", "exact/max_box_acc", "max_box_acc/threshold"):
        for source in ("", "center_gaussian/"):
            assert metrics[f"{source}pseudo_threshold/{name}"] == metrics[source + name]
    assert not {"pseudo_threshold/piou", "pseudo_threshold/top1_loc_map"} & set(metrics)
    one = read_run(tmp_path / "w", "test")
    values = statistic(one.results, one.step, one.chosen)(np.ones((1, len(records))))
    assert "pseudo_threshold/max_box_acc_v2" in values
    for name, value in values.items():
        assert value.item() == pytest.approx(metrics[name], rel=1e-12)
        assert metrics[f"{name}/low"] <= metrics[f"{name}/high"]


def test_what_cannot_choose_is_an_error_in_one_line(records, tmp_path):
    whole = np.tile([0.0, 0, 1, 1], (len(records), 1))
    write_predictions(tmp_path / "none.parquet", records, Predictions(whole, fallback=np.ones(len(records), bool)))
    write_predictions(tmp_path / "few.parquet", records[1:], Predictions(whole[1:]))
    messages = {
        tmp_path / "none.parquet": f"all {len(records)} test photos are without an object",
        tmp_path / "few.parquet": "no row for 1 of",
        tmp_path / "absent.parquet": "no such file",
        tmp_path: "has no finished pseudo_boxes; expected the workdir of a run",
    }
    for place, message in messages.items():
        with pytest.raises(InputError, match=message) as error:
            with_pseudo_boxes(str(place), "test", records)
        assert "\n" not in str(error.value)
