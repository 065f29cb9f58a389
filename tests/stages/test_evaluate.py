"""metrics.json and the page: whose numbers they are, on which photos, and which photos are shown."""

import json
import weakref

import experiments
import numpy as np
import pages
import pytest

from wsol_jax import run
from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.devices import make_mesh
from wsol_jax.evaluation import maps
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import write_predictions
from wsol_jax.stages import evaluate
from wsol_jax.stages.context import Context
from wsol_jax.stages.evaluate import boxes_by_source
from wsol_jax.stages.workdir import activations_file, predictions_file

WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]])
NO_NETWORK = {"pseudo.source": "truth", "stages": "pseudo_boxes,predict,evaluate,report"}


@pytest.fixture
def dataset():
    return experiments.scenes()


@pytest.fixture
def predictions(dataset, tmp_path) -> dict[str, str]:
    """Tables of boxes (from right to wrong, photo by photo) and of classes (all right), as keys of a configuration."""
    records = [record for split in dataset.splits.values() for record in split]
    right = np.concatenate([record.boxes for record in records])
    share = np.linspace(1, 0.3, len(records))[:, None]
    labels = np.array([[record.label] for record in records], np.int32)
    write_predictions(tmp_path / "boxes.parquet", records, Predictions(box=right * share))
    write_predictions(tmp_path / "classes.parquet", records, Predictions(top5_class=labels, top5_prob=labels + 1.0))
    return {f"predict.{name}_from": str(tmp_path / f"{name}.parquet") for name in ("boxes", "classes")}


def test_whose_numbers_on_which_photos(predictions, tmp_path):
    config = experiments.tiny(
        **NO_NETWORK, **predictions, **{"predict.splits": "train,test,val", "data.val_per_class": 1}
    )
    metrics = run(config, tmp_path / "w")
    assert metrics == json.loads((tmp_path / "w" / "metrics.json").read_text())
    counts = {name: value for name, value in metrics.items() if name.endswith("/photos") or name == "photos"}
    expected = {"": 6, "train/": 9, "val/": 3}
    assert counts == {
        f"{source}{split}photos": count
        for source in ("", "pseudo/", "mean_box/", "center_box/")
        for split, count in expected.items()
    }
    assert metrics["pseudo/val/gt_known_loc"] == metrics["pseudo/top1_loc"] == 100  # the truth, with right classes
    for name in ("gt_known_loc", "train/top1_loc", "center_box/val/gt_known_loc"):
        assert metrics[f"{name}/low"] <= metrics[name] <= metrics[f"{name}/high"]
        assert f"psol_code/{name.rpartition('/')[2]}" in metrics


def test_every_source_is_joined_with_the_predicted_classes(predictions, dataset, tmp_path):
    run(experiments.tiny(**NO_NETWORK, **predictions), tmp_path / "w")
    sources = boxes_by_source(tmp_path / "w", dataset, "test")
    assert list(sources) == ["localizer", "pseudo", "mean_box", "center_box"]
    labels = [[record.label] for record in dataset.splits["test"]]
    assert all(source.top5_class.tolist() == labels for source in sources.values())
    assert np.ptp(sources["center_box"].box, axis=0).max() == 0
    assert list(boxes_by_source(tmp_path / "nothing", dataset, "test")) == ["center_box"]


def test_the_same_seed_gives_the_same_intervals(predictions, tmp_path):
    def metrics(name, seed):
        return run(experiments.tiny(**NO_NETWORK, **predictions, seed=seed), tmp_path / name)

    assert metrics("a", 0) == metrics("b", 0)


def page(workdir) -> str:
    return (workdir / "report" / "index.html").read_text()


def test_the_hits_of_a_source_of_maps_are_freed_before_the_next_is_measured(dataset, tmp_path, monkeypatch):
    file = activations_file(predictions_file(tmp_path, "test"))
    file.parent.mkdir()
    np.save(file, np.random.default_rng(0).random((len(dataset.splits["test"]), 8, 8), np.float32))
    statistics, alive, measure, statistic = [], [], maps.measure, maps.statistic

    def counted(*given):
        alive.append(sum(reference() is not None for reference in statistics))
        return measure(*given)

    def referenced(*given):
        made = statistic(*given)
        statistics.append(weakref.ref(made))
        return made

    monkeypatch.setattr(maps, "measure", counted)
    monkeypatch.setattr(maps, "statistic", referenced)
    metrics, _, _ = evaluate._map_metrics(experiments.tiny().evaluate, Context(tmp_path, dataset, 0, make_mesh(), {}))
    assert metrics["center_gaussian/max_box_acc/low"] <= metrics["center_gaussian/max_box_acc"]
    assert len(statistics) == 2 and alive == [0, 0]


def test_the_page_shows_photos_from_the_best_to_the_worst(predictions, tmp_path):
    run(experiments.tiny(**NO_NETWORK, **predictions, **{"report.photos": 3}), tmp_path / "w")
    ious = [photo["iou"] for photo in pages.photos(page(tmp_path / "w"))]
    assert len(ious) == 3
    assert ious == sorted(ious, reverse=True)
    assert ious[0] > 2 * ious[-1]


def test_the_page_tells_of_other_photos_if_no_test_photo_was_predicted(predictions, tmp_path):
    run(experiments.tiny(**NO_NETWORK, **predictions, **{"predict.splits": "train"}), tmp_path / "w")
    assert "scenes/train/00000.png" in page(tmp_path / "w")
    assert "scenes/test/" not in page(tmp_path / "w")


def test_no_photos_at_all_in_the_gallery(predictions, tmp_path):
    run(experiments.tiny(**NO_NETWORK, **predictions, **{"report.photos": 0}), tmp_path / "w")
    assert "scenes/test/" not in page(tmp_path / "w")


def test_photos_that_nobody_drew_boxes_on(tmp_path):
    experiments.write_folder(tmp_path / "data")
    records = [
        Record(f"{path.parent.name}/{path.name}", 0, (experiments.SIZE, experiments.SIZE), NO_BOXES)
        for path in (tmp_path / "data").rglob("*.jpg")
    ]
    first = np.zeros((len(records), 1), np.int32)
    write_predictions(
        tmp_path / "c.parquet", records, Predictions(WHOLE[first[:, 0]], top5_class=first, top5_prob=first)
    )
    files = {f"predict.{name}_from": str(tmp_path / "c.parquet") for name in ("boxes", "classes")}
    data = {"data.name": "folder", "data.dir": str(tmp_path / "data"), "stages": "predict,evaluate,report"}
    metrics = run(experiments.tiny(**data, **files), tmp_path / "w")
    assert not [name for name in metrics if "loc" in name or "center_box" in name]
    assert metrics["top1_cls"] == pytest.approx(100 / 3)
    assert metrics["photos_with_boxes"] == 0
    assert "the boxes are shown but not evaluated" in page(tmp_path / "w")
