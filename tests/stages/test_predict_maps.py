"""Predicted score maps from stage to stage: exported, read as another program's, and of another run's classifier."""

import json
import shutil

import experiments
import numpy as np
import pytest

from wsol_jax import arrays, load, run
from wsol_jax.boxes import iou
from wsol_jax.errors import InputError
from wsol_jax.evaluation.maps import measure, numbers
from wsol_jax.evaluation.photo_results import statistic
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions, write_predictions
from wsol_jax.pseudo.regions import scored_box
from wsol_jax.stages import predict_maps
from wsol_jax.stages.finished_runs import read_run
from wsol_jax.stages.map_runs import predicted_maps
from wsol_jax.stages.workdir import activations_file, predictions_file


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of CAM on lists with boxes and masks, its exported maps, and the data."""
    place = tmp_path_factory.mktemp("maps")
    experiments.write_lists(place / "data")
    config = experiments.tiny("cam_butterflies", **{"data.dir": str(place / "data")})
    config.stages = "train,predict,maps,evaluate"
    run(config, place / "w")
    return place


def foreign(place, **changes):
    """configs/evaluate_maps.py for the maps of `finished`."""
    data = place / "data"
    if not (data / "image_ids.txt").exists():
        shutil.copytree(data / "metadata" / "val", data, dirs_exist_ok=True)
    keys = {
        "data.dir": str(data),
        "maps.dir": str(place / "w" / "maps" / "test"),
        "data.lists.boxes": "localization_boxes.txt",
        "data.lists.masks": "localization_masks.txt",
        "data.lists.mask_dir": "masks",
    }
    return experiments.tiny("evaluate_maps", **(keys | changes))


def test_exported_maps_are_evaluated_as_another_programs(finished, tmp_path):
    own = json.loads((finished / "w" / "metrics.json").read_text())
    metrics = run(foreign(finished), tmp_path)
    same = {name for name in metrics if not name.startswith(("top1", "center_box", "photos"))}
    assert {"max_box_acc_v2", "pxap", "piou", "exact/max_box_acc", "center_gaussian/pxap"} <= same
    for name in same:
        assert metrics[name] == pytest.approx(own[name], abs=0.2), name  # the files are float32
    counts = json.loads((tmp_path / "maps.json").read_text())["maps"]
    assert counts == {"test": experiments.TEST} and (tmp_path / "report" / "index.html").exists()


def test_maps_are_evaluated_by_masks_alone(finished, tmp_path):
    """As OpenImages has them: no photos, no boxes, an empty image_sizes.txt."""
    shutil.copytree(finished / "data" / "metadata" / "val", tmp_path / "data")
    shutil.copytree(finished / "data" / "masks", tmp_path / "data" / "masks")
    (tmp_path / "data" / "image_sizes.txt").write_text("")
    keys = {"data.dir": str(tmp_path / "data"), "data.lists.boxes": ""}
    metrics, own = (
        run(foreign(finished, **keys), tmp_path / "w"),
        json.loads((finished / "w" / "metrics.json").read_text()),
    )
    for name in ("pxap", "piou", "center_gaussian/pxap"):
        assert metrics[name] == pytest.approx(own[name], abs=0.2)


def test_boxes_and_classes_are_those_of_the_maps(finished):
    records = experiments.load_data("cam_butterflies", finished / "data").splits["test"]
    predictions = read_predictions(finished / "w" / "predictions" / "test.parquet", records, ("box", "top5_class"))
    logits = np.load(finished / "w" / "predictions" / "test.logits.npy")
    activations = np.load(finished / "w" / "predictions" / "test.maps.npy")
    assert activations.shape == (experiments.TEST, 4, 4)
    np.testing.assert_array_equal(predictions.top5_class[:, 0], logits.argmax(-1))
    expected = [scored_box(activation, 0.2) for activation in activations]
    np.testing.assert_allclose(predictions.box, [region.box for region in expected], atol=1e-9)
    np.testing.assert_allclose(predictions.score, [region.score for region in expected], rtol=1e-6)
    assert predictions.fallback.tolist() == [region.fallback for region in expected]


def test_results_of_photos_have_the_metrics_of_the_run(finished):
    metrics = json.loads((finished / "w" / "metrics.json").read_text())
    one = read_run(finished / "w", "test")
    values = statistic(one.results, one.step, one.chosen)(np.ones((1, experiments.TEST)))
    assert {"max_box_acc", "max_box_acc_v2", "pxap", "piou", "top1_loc_map", "gt_known_loc", "top1_cls"} <= set(values)
    for name, value in values.items():
        assert value.item() == pytest.approx(metrics[name], rel=1e-12)
        assert metrics[f"{name}/low"] <= metrics[f"{name}/high"]
    assert "center_gaussian/pxap/low" in metrics and "exact/max_box_acc/low" not in metrics


@pytest.mark.long
def test_the_classifier_of_another_run_draws_maps(finished, tmp_path):
    run(experiments.tiny(stages="classifier"), tmp_path / "psol")
    keys = {"predict.grad_cam_from": str(tmp_path / "psol"), "predict.grad_cam_stage": "layer3"}
    metrics = run(experiments.tiny("grad_cam", **keys), tmp_path / "w")
    assert {"max_box_acc_v2", "pxap", "top1_cls", "top1_loc_map"} <= set(metrics)  # scenes have boxes and masks
    assert np.load(tmp_path / "w" / "predictions" / "test.maps.npy").min() >= 0
    with pytest.raises(InputError, match=r"grad_cam_from: the network of .*psol has 3 classes; expected 4"):
        run(experiments.tiny("grad_cam", **keys, **{"data.scenes.classes": 4}), tmp_path / "four")


def test_classes_of_a_second_stage_replace_the_networks(finished, tmp_path):
    config = experiments.tiny("cam_butterflies", **{"data.dir": str(finished / "data"), "overwrite": True})
    dataset = experiments.load_data("cam_butterflies", finished / "data")
    records = dataset.splits["test"]
    label, right = np.array([record.label for record in records]), np.arange(len(records)) % 2 == 1
    top5 = np.stack([np.where(right, label, (label + 1) % 3), np.where(right, (label + 1) % 3, label)], axis=-1)
    file = tmp_path / "classes.parquet"
    write_predictions(file, records[::-1], Predictions(top5_class=top5[::-1], top5_prob=top5 * 0.0))
    config.stages, config.predict.classes_from = "predict,evaluate", str(file)
    shutil.copytree(finished / "w", tmp_path / "w")
    metrics, before = run(config, tmp_path / "w"), json.loads((finished / "w" / "metrics.json").read_text())

    assert all("top1" in name or "top5" in name for name in metrics if metrics[name] != before[name])
    predictions = read_predictions(tmp_path / "w" / "predictions" / "test.parquet", records)
    np.testing.assert_array_equal(predictions.top5_class, top5)
    hit = iou(predictions.box, np.concatenate([record.boxes for record in records])) >= 0.5
    expected = {"top1_cls": right, "top5_cls": right | True, "top1_loc": hit & right, "top5_loc": hit}
    assert {name: metrics[name] for name in expected} == pytest.approx({k: 100 * v.mean() for k, v in expected.items()})
    source = predicted_maps(activations_file(predictions_file(finished / "w", "test")), config.evaluate.map_size)
    step = config.evaluate.threshold_step
    of_maps = numbers(measure("maps", dataset, records, source, right.astype(float), step), step)
    assert metrics["top1_loc_map"] == of_maps["top1_loc_map"] > 0
    kinds = {path.name.removeprefix("test.") for path in (tmp_path / "w" / "predictions").iterdir()}
    assert kinds == {"parquet", "coco.json", "maps.npy"}  # no logits: they would be of other classes than the table


def test_sets_of_pixels_are_written_without_a_copy_of_all(finished, tmp_path, monkeypatch):
    converted, predict_split = [], predict_maps.predict_split

    class Counted(np.ndarray):
        def astype(self, dtype):
            converted.append(len(self))
            return super().astype(dtype)

    sets = np.random.default_rng(0).integers(3, size=(experiments.TEST, 4, 4), dtype=np.int32)

    def with_sets(*args, **keys):
        return predict_split(*args, **keys)._replace(assignment=sets.view(Counted))

    monkeypatch.setattr(predict_maps, "predict_split", with_sets)
    monkeypatch.setattr(arrays, "AT_ONCE", 4)
    shutil.copytree(finished / "w", tmp_path / "w")
    keys = {"data.dir": str(finished / "data"), "stages": "predict", "overwrite": True, "predict.box_threshold": 0.3}
    run(experiments.tiny("cam_butterflies", **keys), tmp_path / "w")
    written = np.load(tmp_path / "w" / "predictions" / "test.assignments.npy")
    assert written.dtype == np.int8 and converted == [4, 2]
    np.testing.assert_array_equal(written, sets)


@pytest.mark.parametrize("key, value", [("boxes_from", "x.parquet"), ("localizer_from", "x"), ("ten_crop", True)])
def test_keys_of_psol_are_an_error_before_anything_is_trained(key, value, tmp_path):
    config = experiments.tiny("cam_butterflies", **{"data.name": "scenes", f"predict.{key}": value})
    with pytest.raises(InputError, match=rf"--config\.predict: {key} is .*come from maps of one crop"):
        run(config, tmp_path / "w")
    assert not (tmp_path / "w" / "model").exists()


def test_maps_of_a_part_of_each_photo_are_an_error_before_anything_is_trained(tmp_path):
    config = experiments.tiny("cam_butterflies", **{"data.name": "scenes", "predict.test_geometry": "center_crop"})
    with pytest.raises(InputError, match=r"predict: test_geometry is 'center_crop'; expected 'resize': score maps are"):
        run(config, tmp_path / "w")
    assert not (tmp_path / "w" / "model").exists()


def test_missing_classes_are_an_error_before_anything_is_trained(tmp_path):
    records, file = experiments.scenes().splits["train"], tmp_path / "train.parquet"
    one = np.zeros((len(records), 1))
    write_predictions(file, records, Predictions(top5_class=one, top5_prob=one))
    config = experiments.tiny("two_stage", **{"data.name": "scenes"})
    with pytest.raises(InputError, match=r"--config\.predict: RUN/predictions/test\.parquet: no such file"):
        run(config, tmp_path / "w")
    config.predict.classes_from = str(file)
    with pytest.raises(InputError, match=r"--config\.predict: .*train\.parquet: no row for 6 of 6 photos"):
        run(config, tmp_path / "w")
    assert not (tmp_path / "w" / "model").exists()


def test_a_run_does_not_take_its_classes_from_itself(finished, tmp_path):
    shutil.copytree(finished / "w", tmp_path / "w")
    own = tmp_path / "w" / "predictions" / "test.parquet"
    keys = {"data.dir": str(finished / "data"), "overwrite": True, "predict.classes_from": str(own)}
    before = own.read_bytes()
    with pytest.raises(InputError, match=r"test\.parquet is an output of this run; expected another run's predictions"):
        run(experiments.tiny("cam_butterflies", **keys), tmp_path / "w")
    assert own.read_bytes() == before


WRONG = {
    "no folder": ({"maps.dir": "nowhere"}, r"--config\.maps: dir is 'nowhere'; expected a folder of IMAGE\.npy files"),
    "no such split": ({"maps.splits": "val"}, "splits names 'val', of which there are no photos; expected test"),
    "another size": ({"maps.size": 32}, r"score map of val/0\.jpg: it is 64 x 64 pixels .*, expected 32 x 32"),
    "no map": ({"maps.prefix": "images/val/"}, r"there is no map .*0\.jpg\.npy; expected the score map of 0\.jpg"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_an_error_in_one_line(case, finished, tmp_path):
    changes, message = WRONG[case]
    with pytest.raises(InputError, match=message) as error:
        run(foreign(finished, **changes), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value, message", [(np.nan, "it has NaN"), (1.5, "it ranges from"), (-0.1, "it ranges from")])
def test_a_map_with_a_wrong_number_is_named(value, message, finished, tmp_path):
    shutil.copytree(finished / "w" / "maps" / "test", tmp_path / "maps")
    file = tmp_path / "maps" / "val" / "3.jpg.npy"
    values = np.load(file)
    values[5, 6] = value
    np.save(file, values)
    with pytest.raises(InputError, match=rf"score map of val/3\.jpg: {message}.*, expected values in \[0, 1\]"):
        run(foreign(finished, **{"maps.dir": str(tmp_path / "maps")}), tmp_path / "w")


def test_a_map_that_has_changed_is_another_input(finished, tmp_path):
    shutil.copytree(finished / "w" / "maps" / "test", tmp_path / "maps")
    config = foreign(finished, **{"maps.dir": str(tmp_path / "maps")})
    run(config, tmp_path / "w")
    file = tmp_path / "maps" / "val" / "0.jpg.npy"
    np.save(file, np.load(file) * 0.5)
    with pytest.raises(InputError, match=r"its input .*maps is not the same"):
        run(config, tmp_path / "w")


def test_objects_of_a_finished_run(finished, tmp_path):
    shutil.copytree(finished / "w", tmp_path / "w")
    keys = {"data.dir": str(finished / "data"), "stages": "train,predict,objects,evaluate", "overwrite": True}
    metrics = run(experiments.tiny("cam_butterflies", **keys), tmp_path / "w")
    assert metrics["true_objects"] == experiments.TEST and 0 <= metrics["object_recall_iou50"] <= 100
    assert json.loads((tmp_path / "w" / "objects" / "maps_test.coco.json").read_text())["annotations"]
    keys |= {"stages": "train,predict,evaluate", "predict.box_threshold": 0.3}
    with pytest.raises(InputError, match=r"predict is not the same; add objects to --config\.stages, another"):
        run(experiments.tiny("cam_butterflies", **keys), tmp_path / "w")


def test_a_finished_run_is_drawn_again_without_training(finished, tmp_path):
    shutil.copytree(finished / "w", tmp_path / "w")
    keys = {"data.dir": str(finished / "data"), "predict.maps": "bagcam", "predict.maps_stage": "layer3"}
    config = experiments.tiny("cam_butterflies", overwrite=True, stages="train,predict,evaluate", **keys)
    before = (tmp_path / "w" / "stages" / "train.json").stat().st_mtime_ns
    metrics = run(config, tmp_path / "w")
    assert "max_box_acc_v2" in metrics and (tmp_path / "w" / "stages" / "train.json").stat().st_mtime_ns == before
    heat = np.load(tmp_path / "w" / "predictions" / "test.maps.npy")
    assert heat.shape == (experiments.TEST, 4, 4) and heat.min() >= 0 and heat.max() > 0

    model, records = load(tmp_path / "w"), experiments.load_data("cam_butterflies", finished / "data").splits["test"]
    photos = [finished / "data" / record.path for record in records]
    predictions = model.predict(photos, labels=[record.label for record in records])
    np.testing.assert_allclose([one.activation for one in predictions], heat, rtol=1e-3, atol=1e-6 * heat.max())
    assert "BagCAM" in model.title

    own = {"pseudo.source": "cam", "pseudo.cam_from": str(finished / "w"), "data.dir": str(finished / "data")}
    own |= {"pseudo.cam_maps": "bagcam", "pseudo.cam_stage": "layer3", "stages": "pseudo_boxes"}
    run(experiments.tiny("cam_butterflies", **own), tmp_path / "pseudo")
    boxes = read_predictions(tmp_path / "pseudo" / "pseudo_boxes" / "boxes_test.parquet", records).box
    np.testing.assert_allclose(boxes, [scored_box(one, 0.2).box for one in heat], atol=1e-9)


DRAWN = {
    "maps": ({"predict.maps": "gradcam"}, r"--config\.predict\.maps is 'gradcam'; expected one of cam, bagcam"),
    "own maps": ({"predict.maps_stage": "layer3"}, r"predict\.maps_stage is 'layer3'; expected '' where maps is 'cam'"),
    "guided": ({"predict.maps": "layercam", "predict.bagcam_guided": True}, r"expected False unless maps is 'bagcam'"),
    "stage": (
        {"predict.maps": "bagcam", "predict.maps_stage": "x"},
        r"predict: resnet50_v1 has no stage 'x'",
    ),
    "boxes": ({"predict.maps": "bagcam", "stages": "classifier,predict"}, "this run has no score maps; expected 'cam'"),
    "method": ({"predict.maps": "bagcam", "train.method": "acol"}, r"the maps of acol are its own; expected 'cam'"),
}


@pytest.mark.parametrize("case", DRAWN)
def test_a_wrong_drawing_is_an_error_before_anything_is_trained(case, tmp_path):
    changes, message = DRAWN[case]
    with pytest.raises(InputError, match=message):
        run(experiments.tiny("cam_butterflies", **{"data.name": "scenes"}, **changes), tmp_path / "w")
    assert not (tmp_path / "w" / "model").exists()
