"""PSOL's stages without training: boxes from the truth or a file, classes from a file, both joined."""

import json
import shutil

import experiments
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from wsol_jax import arrays, run
from wsol_jax import boxes as box_maths
from wsol_jax.errors import InputError
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions, write_predictions
from wsol_jax.pseudo.regions import scored_box
from wsol_jax.stages import pseudo_boxes
from wsol_jax.tools.convert_weights import convert

WHOLE = np.array([0.0, 0.0, 1.0, 1.0])


def table(path, records, **fields) -> str:
    write_predictions(path, records, Predictions(**fields))
    return str(path)


def rows(path) -> dict:
    return pq.read_table(path).to_pydict()


@pytest.fixture
def records():
    return experiments.scenes().splits


def test_true_boxes_are_the_ceiling(records, tmp_path):
    metrics = run(experiments.tiny(**{"pseudo.source": "truth", "stages": "pseudo_boxes,evaluate,report"}), tmp_path)
    assert metrics["pseudo/gt_known_loc"] == metrics["pseudo/train/gt_known_loc"] == 100
    assert metrics["pseudo/train/photos_with_boxes"] == experiments.TRAIN
    found = read_predictions(tmp_path / "pseudo_boxes" / "boxes.parquet", records["train"])
    np.testing.assert_allclose(found.box, np.concatenate([r.boxes for r in records["train"]]), atol=1e-12)
    assert not found.fallback.any()


def test_boxes_of_another_tool_are_learned_from(records, tmp_path):
    boxes = np.tile([0.25, 0.25, 0.75, 0.75], (experiments.TRAIN, 1))
    file = table(tmp_path / "mine.parquet", records["train"], box=boxes)
    run(experiments.tiny(**{"pseudo.source": file, "stages": "pseudo_boxes"}), tmp_path / "w")
    assert experiments.files(tmp_path / "w" / "pseudo_boxes") == {"boxes.parquet", "train.coco.json"}
    found = read_predictions(tmp_path / "w" / "pseudo_boxes" / "boxes.parquet", records["train"])
    np.testing.assert_array_equal(found.box, boxes)


def test_one_direction_for_the_whole_dataset(tmp_path):
    run(experiments.tiny(**{"pseudo.group": "dataset", "stages": "pseudo_boxes,evaluate"}), tmp_path)
    names = {"boxes.parquet", "boxes_test.parquet", "heat_train.npy", "heat_test.npy", "ddt/0000_dataset.npz"}
    names |= {"train.coco.json", "test.coco.json"}
    assert experiments.files(tmp_path / "pseudo_boxes") == names
    with np.load(tmp_path / "pseudo_boxes" / "ddt" / "0000_dataset.npz", allow_pickle=False) as statistics:
        assert {"mean", "direction", "explained", "images", "sign"} <= set(statistics)
        assert statistics["images"] == experiments.TRAIN


@pytest.fixture(scope="module")
def score_maps(tmp_path_factory):
    """The workdir of a score-map run that has seen all of each photo."""
    workdir = tmp_path_factory.mktemp("cam")
    run(experiments.tiny(**CAM), workdir)
    return workdir


CAM = {"stages": "train,predict", "predict.splits": "train,test", "predict.test_geometry": "resize"}


def of_maps(workdir, **changes):
    """A PSOL run whose pseudo boxes are those of another run's maps."""
    return experiments.tiny(
        **{"stages": "pseudo_boxes", "pseudo.source": "cam", "pseudo.cam_from": str(workdir)} | changes
    )


@pytest.mark.long
def test_boxes_of_another_runs_maps_are_learned_from(score_maps, records, tmp_path):
    metrics = run(of_maps(score_maps, stages="pseudo_boxes,localizer,predict,evaluate,report"), tmp_path)
    assert {"gt_known_loc", "pseudo/gt_known_loc", "pseudo/train/gt_known_loc"} <= set(metrics)
    assert (tmp_path / "localizer" / "log.jsonl").exists() and (tmp_path / "report" / "index.html").exists()
    for split, name in {"train": "boxes.parquet", "test": "boxes_test.parquet"}.items():
        activations = np.load(score_maps / "predictions" / f"{split}.maps.npy")
        found = read_predictions(tmp_path / "pseudo_boxes" / name, records[split])
        np.testing.assert_allclose(found.box, [scored_box(one, 0.2)[0] for one in activations], atol=1e-12)
        assert (found.score > 0.2).all() and (found.score < 1).all() and not found.fallback.any()
        heat = np.load(tmp_path / "pseudo_boxes" / f"heat_{split}.npy").astype(np.float64)
        low, high = (f(activations, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        np.testing.assert_allclose(heat, (activations - low) / (high - low), atol=1e-3)


def test_heat_of_many_maps_stays_in_files(score_maps, tmp_path, monkeypatch):
    run(of_maps(score_maps), tmp_path / "in_memory")
    mapped = []

    def save_as(file, array, dtype):
        mapped.append(isinstance(array.base, np.memmap))
        arrays.save_as(file, array, dtype)

    monkeypatch.setattr(pseudo_boxes, "save_as", save_as)
    monkeypatch.setattr(arrays, "IN_MEMORY", 0)
    run(of_maps(score_maps), tmp_path / "in_files")
    assert mapped == [True, True]
    for name in ("heat_train.npy", "heat_test.npy", "boxes.parquet", "boxes_test.parquet"):
        both = [(tmp_path / folder / "pseudo_boxes" / name).read_bytes() for folder in ("in_memory", "in_files")]
        assert both[0] == both[1], name


def test_a_higher_threshold_draws_smaller_boxes_of_maps(score_maps, records, tmp_path):
    areas = []
    for threshold in (0.2, 0.8):
        run(of_maps(score_maps, **{"pseudo.cam_threshold": threshold}), tmp_path / str(threshold))
        found = read_predictions(tmp_path / str(threshold) / "pseudo_boxes" / "boxes.parquet", records["train"])
        areas.append(box_maths.area(found.box))
    assert (areas[1] <= areas[0]).all() and areas[1].mean() < areas[0].mean() / 2


def test_boxes_of_maps_know_which_network_drew_them(score_maps, tmp_path):
    shutil.copytree(score_maps, tmp_path / "cam")
    run(of_maps(tmp_path / "cam"), tmp_path / "w")
    run(experiments.tiny(stages="train", seed=1, overwrite=True), tmp_path / "cam")
    with pytest.raises(InputError, match=r"its input .*cam/stages/train\.json is not the same"):
        run(of_maps(tmp_path / "cam"), tmp_path / "w")


def test_maps_of_other_classes_draw_no_boxes(score_maps, tmp_path):
    with pytest.raises(InputError, match=r"pseudo\.cam_from: the network of .* has 3 classes; expected 4") as error:
        run(of_maps(score_maps, **{"data.scenes.classes": 4}), tmp_path)
    assert "\n" not in str(error.value) and not (tmp_path / "pseudo_boxes").exists()


def test_anybodys_boxes_and_classes_are_joined(records, tmp_path):
    test = records["test"]
    right = np.concatenate([record.boxes for record in test])
    boxes = np.where(np.arange(len(test))[:, None] < 3, right, right * 0.1)  # the first three are right
    labels = np.array([record.label for record in test], np.int32)
    first = np.where(np.arange(len(test)) < 2, labels, (labels + 1) % 3)  # of the first two, so is the class
    top5 = np.stack([first, (first + 1) % 3, (first + 2) % 3], axis=-1)
    config = experiments.tiny(
        **{
            "stages": "predict,evaluate,report",
            "predict.boxes_from": table(tmp_path / "b.parquet", test, box=boxes),
            "predict.classes_from": table(tmp_path / "c.parquet", test, top5_class=top5, top5_prob=top5 * 0.0),
        }
    )
    metrics = run(config, tmp_path / "w")
    found = {name: metrics[name] for name in ("gt_known_loc", "top1_loc", "top5_loc", "top1_cls", "top5_cls")}
    expected = {"gt_known_loc": 3, "top1_loc": 2, "top5_loc": 3, "top1_cls": 2, "top5_cls": 6}
    assert found == pytest.approx({name: 100 * count / 6 for name, count in expected.items()})
    names = {f"predictions/test.{kind}" for kind in ("parquet", "coco.json")}  # no network, hence no logits
    assert {name for name in experiments.files(tmp_path / "w") if name.startswith("predictions")} == names
    assert rows(tmp_path / "w" / "predictions" / "test.parquet")["top5_class"] == top5.tolist()
    coco = json.loads((tmp_path / "w" / "predictions" / "test.coco.json").read_text())
    assert [annotation["category_id"] - 1 for annotation in coco["annotations"]] == labels.tolist()


def test_boxes_alone_and_classes_alone(records, tmp_path):
    test = records["test"]
    boxes = table(tmp_path / "b.parquet", test, box=np.tile(WHOLE, (len(test), 1)))
    metrics = run(experiments.tiny(**{"stages": "predict,evaluate", "predict.boxes_from": boxes}), tmp_path / "b")
    assert "gt_known_loc" in metrics
    assert not {"top1_loc", "top1_cls"} & set(metrics)

    zeros = np.zeros((len(test), 1), np.int32)
    classes = table(tmp_path / "c.parquet", test, top5_class=zeros, top5_prob=zeros)
    metrics = run(experiments.tiny(**{"stages": "predict,evaluate", "predict.classes_from": classes}), tmp_path / "c")
    assert metrics["top1_cls"] == pytest.approx(100 / 3)
    assert not {"top1_loc", "gt_known_loc"} & set(metrics)


@pytest.mark.long
def test_a_localizer_of_other_photos_draws_boxes_on_these(tmp_path):
    there = experiments.tiny(**{"stages": "pseudo_boxes,localizer,predict", "pseudo.source": "truth"})
    run(there, tmp_path / "there")
    here = experiments.tiny("transfer", **{"seed": 1, "predict.localizer_from": str(tmp_path / "there")})
    metrics = run(here, tmp_path / "here")
    assert {"gt_known_loc", "pseudo/gt_known_loc", "center_box/gt_known_loc"} <= set(metrics)
    again = experiments.tiny(**{"stages": "predict", "predict.localizer_from": str(tmp_path / "there")})
    run(again, tmp_path / "again")  # on its own photos it says what it said
    boxes = [rows(tmp_path / name / "predictions" / "test.parquet") for name in ("there", "again", "here")]
    assert boxes[0] == boxes[1] != boxes[2]


def test_a_run_of_another_version_is_told_before_anything_is_made(tmp_path):
    run(experiments.tiny(**{"stages": "pseudo_boxes,localizer", "pseudo.source": "truth"}), tmp_path / "there")
    file = tmp_path / "there" / "stages" / "localizer.json"
    made_from = json.loads(file.read_text())
    del made_from["config"]["trainable"]
    file.write_text(json.dumps(made_from))
    here = experiments.tiny(**{"stages": "predict", "predict.localizer_from": str(tmp_path / "there")})
    with pytest.raises(InputError, match=r"localizer_from: the localizer of .*there was trained by another version"):
        run(here, tmp_path / "here")
    assert not (tmp_path / "here" / "predictions").exists()


@pytest.mark.long
def test_ten_crops_tell_the_classes_and_one_crop_the_box(tmp_path):
    changes = {"stages": "pseudo_boxes,joint,predict", "pseudo.source": "truth"}
    run(experiments.tiny(**changes), tmp_path)
    one, logits = rows(tmp_path / "predictions" / "test.parquet"), np.load(tmp_path / "predictions" / "test.logits.npy")
    run(experiments.tiny(**changes, **{"predict.ten_crop": True, "overwrite": True}), tmp_path)
    ten = rows(tmp_path / "predictions" / "test.parquet")
    assert all(one[corner] == ten[corner] for corner in ("x0", "y0", "x1", "y1"))
    averaged = np.load(tmp_path / "predictions" / "test.logits.npy")
    np.testing.assert_allclose(np.exp(averaged).sum(-1), 1, rtol=1e-5)
    assert averaged.shape == logits.shape and not np.allclose(np.diff(averaged), np.diff(logits))


def test_a_joint_network_and_separate_ones_do_not_mix(tmp_path):
    changes = {"pseudo.source": "truth"}
    run(experiments.tiny(**changes, stages="pseudo_boxes,joint"), tmp_path)
    with pytest.raises(InputError, match="has a joint network and separate ones; expected another workdir for each"):
        run(experiments.tiny(**changes, stages="classifier,predict"), tmp_path)


WRONG = {
    "no such split": (
        {"stages": "classifier,predict", "predict.splits": "test,val"},
        "splits names 'val'.*train, test",
    ),
    "no boxes there": (
        {"stages": "classifier,predict", "predict.boxes_from": "no.parquet"},
        r"--config\.predict: no\.parquet: no such file",
    ),
    "no run there": (
        {"stages": "predict", "predict.localizer_from": "nowhere"},
        r"localizer_from: nowhere has no finished localizer; expected the workdir of a run",
    ),
    "two sources of boxes": (
        {"stages": "predict", "predict.localizer_from": "a", "predict.boxes_from": "b"},
        r"--config\.predict: boxes_from and localizer_from are both given; expected one of them",
    ),
    "no weights there": (
        {"stages": "classifier", "classifier.weights": "no.npz"},
        r"--config\.classifier: no\.npz: no",
    ),
    "no such package": ({"stages": "classifier", "classifier.weights": "pip:x"}, r"pip:x: unknown package.*pip:lpips"),
    "no such stage to freeze": ({"stages": "classifier", "classifier.freeze": "x"}, "freeze='x' is no stage.*layer4"),
    "photos too small": ({"stages": "classifier", "classifier.size": 8}, "expected .* at least 32"),
    "no such layer": ({"stages": "pseudo_boxes", "pseudo.layer": "x"}, "pseudo.layer is 'x'; vgg16 has relu1_1"),
    "no such table": ({"stages": "pseudo_boxes", "pseudo.source": "no.parquet"}, r"no\.parquet: no such file"),
    "no run of maps": (
        {"stages": "pseudo_boxes", "pseudo.source": "cam"},
        r"pseudo\.source is 'cam' and pseudo\.cam_from ''; expected 'cam' and the workdir",
    ),
    "a run of maps for nothing": (
        {"stages": "pseudo_boxes", "pseudo.cam_from": "nowhere"},
        r"pseudo\.source is 'ddt' and pseudo\.cam_from 'nowhere'; expected 'cam' and",
    ),
    "no finished run of maps": (
        {"stages": "pseudo_boxes", "pseudo.source": "cam", "pseudo.cam_from": "nowhere"},
        r"pseudo\.cam_from: nowhere has no finished train; expected the workdir of a run",
    ),
    "no such photos": ({"data.name": "cub", "data.dir": "nowhere"}, r"--config\.data\.dir: there is no folder nowhere"),
    "no dir": ({"data.name": "cub"}, r"give it with --config\.data\.dir=FOLDER"),
}


@pytest.mark.parametrize(("changes", "expected"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_told_before_anything_is_made(changes, expected, tmp_path):
    with pytest.raises(InputError, match=expected) as error:
        run(experiments.tiny(**changes), tmp_path / "w")
    assert "\n" not in str(error.value)
    made = [path for path in (tmp_path / "w").rglob("*") if path.is_file() and path.parent.name != "stages"]
    assert [path.name for path in made if path.name != "config.json"] == []


@pytest.mark.parametrize("part", ["boxes", "classes"])
def test_a_table_of_another_program_is_checked_before_anything_is_trained(part, records, tmp_path):
    """As score-map runs do: of other photos, without its columns, of other classes."""
    test, key = records["test"], f"predict.{part}_from"
    classes = np.full((len(test), 1), 3)
    tables = {
        "no row for 6 of 6 photos": table(tmp_path / "a.parquet", records["train"], box=np.tile(WHOLE, (12, 1))),
        "expected the columns": table(tmp_path / "b.parquet", test, score=np.ones(len(test))),
    }
    if part == "classes":
        wrong = table(tmp_path / "d.parquet", test, top5_class=classes, top5_prob=classes * 0.1)
        tables["predicts classes 3 to 3; expected 0 to 2"] = wrong
    for message, file in tables.items():
        with pytest.raises(InputError, match=rf"--config\.predict: .*{message}"):
            run(experiments.tiny(**{"stages": "classifier,predict", key: file}), tmp_path / "w")
        assert not (tmp_path / "w" / "classifier").exists()


def test_a_run_does_not_read_its_own_predictions(tmp_path):
    changes = {"stages": "pseudo_boxes,localizer,predict", "pseudo.source": "truth"}
    run(experiments.tiny(**changes), tmp_path)
    own = {"predict.boxes_from": str(tmp_path / "predictions" / "test.parquet"), "overwrite": True}
    with pytest.raises(InputError, match=r"test\.parquet is an output of this run; expected another run's predictions"):
        run(experiments.tiny(**changes, **own), tmp_path)


@pytest.mark.long
def test_weights_with_another_content_are_another_input(tmp_path):
    config = experiments.tiny(**{"stages": "classifier", "classifier.new_head": False})
    run(config, tmp_path / "there")
    weights = tmp_path / "weights.safetensors"
    convert(str(tmp_path / "there" / "classifier"), weights, config.classifier.arch)
    changes = {"stages": "classifier", "classifier.weights": str(weights)}
    run(experiments.tiny(**changes), tmp_path / "w")
    inputs = json.loads((tmp_path / "w" / "stages" / "classifier.json").read_text())["inputs"]
    assert list(inputs) == [str(weights)]
    arrays = load_file(weights)
    save_file({name: array * 2 for name, array in arrays.items()}, weights)
    with pytest.raises(InputError, match=r"its input .*weights\.safetensors is not the same"):
        run(experiments.tiny(**changes), tmp_path / "w")


def test_an_architectures_arguments_are_checked(tmp_path):
    config = experiments.tiny(stages="classifier")
    config.classifier.arch_kwargs = {"widht": 8}
    with pytest.raises(
        InputError, match=r"--config\.classifier: resnet50 has no argument 'widht'; expected one of depths"
    ):
        run(config, tmp_path)


@pytest.mark.long
def test_photos_without_test_photos(tmp_path):
    experiments.write_folder(tmp_path / "data", train=9, test=1)
    config = experiments.tiny("psol_folder", **{"data.dir": str(tmp_path / "data"), "data.folder.test_fraction": 0.0})
    config.predict.splits = "test"
    with pytest.raises(InputError, match=r"--config\.predict: splits names 'test'.*expected train"):
        run(config, tmp_path / "w")
    config.stages, config.predict.splits = "pseudo_boxes,evaluate,report", "train"
    assert run(config, tmp_path / "w") == {"pseudo/train/photos": 10.0, "pseudo/train/photos_with_boxes": 0.0}
    assert "checks/train_1.jpg" in (tmp_path / "w" / "report" / "index.html").read_text()


def test_photos_without_training_photos(tmp_path):
    lists = tmp_path / "data" / "lists"
    lists.mkdir(parents=True)
    experiments.write_folder(tmp_path / "data" / "images")
    for name, line in {"image_ids": "", "class_labels": ",0", "image_sizes": ",64,64"}.items():
        (lists / f"{name}.txt").write_text(f"stripes/train_0.jpg{line}\n")
    changes = {"data.name": "lists", "data.dir": str(tmp_path / "data"), "data.lists.train": ""}
    changes |= {"data.lists.test": "lists", "data.lists.boxes": ""}
    for stages in ("pseudo_boxes", "classifier"):
        with pytest.raises(InputError, match="the dataset has no training photos"):
            run(experiments.tiny(stages=stages, **changes), tmp_path / "w")
