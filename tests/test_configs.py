"""Every experiment of configs/ is planned on photos of its layout; one of each distinct program runs from end to end.

Experiments that differ in rates, epochs and sizes are one program. configs/base.py is what tests/runs/test_run.py runs.
"""

import json
from pathlib import Path

import experiments
import numpy as np
import pyarrow.parquet as pq
import pytest
from ml_collections import ConfigDict

from wsol_jax import run
from wsol_jax.config import check_config
from wsol_jax.runs.run import plan

SCENES = ["stripes", "checks", "dots"]
NUMBERS = ["1", "2", "3"]
SYNSETS = ["n00000000", "n00000001", "n00000002"]
NAMES = sorted(path.stem for path in experiments.CONFIGS.glob("*.py"))
TREES = {
    "psol_cub": (experiments.write_cub, NUMBERS),
    "c2am_cub": (experiments.write_cub, NUMBERS),
    "c2am_birds25": (experiments.write_cub, NUMBERS),
    "psol_birds25": (experiments.write_cub, NUMBERS),
    "psol_birds25_pooled": (experiments.write_cub, NUMBERS),
    "psol_cub_fused": (experiments.write_cub, NUMBERS),
    "joint_birds25": (experiments.write_cub, NUMBERS),
    "psol_imagenet": (experiments.write_imagenet, SYNSETS),
    "psol_folder": (experiments.write_folder, sorted(SCENES)),
}


@pytest.mark.parametrize("name", NAMES)
def test_its_values_make_sense_on_one_device_and_on_eight(name):
    check_config(experiments.load(name), devices=1)
    check_config(experiments.load(name), devices=8)


@pytest.mark.parametrize("name", NAMES)
def test_its_docstring_has_its_command(name):
    text = (experiments.CONFIGS / f"{name}.py").read_text()
    assert name == "base" or f"python launch.py --config=configs/{name}.py --workdir=" in text


OTHER_STAGES = ("base", "combine", "transfer", "evaluate_maps", "grad_cam", "two_stage", "dawsol_ablation")  # of others
SCORE_MAPS = {
    "cam_cub": experiments.write_cub,
    "cam_cub_vgg16": experiments.write_cub,
    "cam_cub_inception": experiments.write_cub,
    "cam_ilsvrc": experiments.write_imagenet,
    "cam_openimages": experiments.write_lists,
    "cam_butterflies": experiments.write_lists,
    "cam_birds25": experiments.write_cub,
    "dawsol_cub": experiments.write_cub,
    "dawsol_cub_inception": experiments.write_cub,
    "dawsol_ilsvrc": experiments.write_imagenet,
    "dawsol_ilsvrc_inception": experiments.write_imagenet,
    "dawsol_openimages": experiments.write_lists,
    "dawsol_openimages_inception": experiments.write_lists,
    "dawsol_butterflies": experiments.write_lists,
    "dawsol_birds25": experiments.write_cub,
}
PSOL = [name for name in NAMES if name not in (*OTHER_STAGES, *SCORE_MAPS)]
TRAINED = {"joint_birds25": ["joint"]}


def _on_photos(name: str, folder: Path) -> ConfigDict:
    """The experiment, small, on generated photos in the layout that it reads."""
    config = experiments.tiny(name, **{"train.dawsol.samples": 4})  # of 16 cells
    write = SCORE_MAPS.get(name) or TREES.get(name, (None,))[0]
    if write:
        write(folder)
        config.data.dir = str(folder)
    if config.data.name == "imagenet":
        config.data.imagenet.boxes = "boxes"
    return config


@pytest.mark.parametrize("name", [*PSOL, *SCORE_MAPS])
def test_it_is_ready_to_run_on_photos_of_its_layout(name, tmp_path):
    planned = plan(_on_photos(name, tmp_path / "data"), tmp_path / "w")
    assert planned.to_do == planned.config.stages.split(",")
    assert len(planned.dataset.splits["train"]) and len(planned.dataset.splits["test"])
    assert len(planned.dataset.classes) == experiments.CLASSES


@pytest.mark.long
@pytest.mark.parametrize("name", ["psol_cub", "psol_folder", "joint_birds25"])
def test_it_runs_and_writes_the_contract(name, tmp_path):
    config, classes = _on_photos(name, tmp_path / "data"), TREES[name][1]
    workdir, splits = tmp_path / "workdir", ["test"] if config.predict.splits == "test" else ["train", "test"]
    trained = TRAINED.get(name, ["localizer", "classifier"])
    metrics = run(config, workdir)

    files = experiments.contract(splits, classes, True, trained, config.pseudo.views, name != "psol_folder")
    files |= {"stages/boxes.json"} if "boxes" in config.stages.split(",") else set()
    assert {file for file in experiments.files(workdir) if not file.startswith("boxes/")} == files
    assert (workdir / "boxes" / "coco.json").exists() == ("boxes" in config.stages.split(","))
    assert json.loads((workdir / "config.json").read_text()) == json.loads(config.to_json())
    for stage in trained:
        assert [json.loads(line)["step"] for line in (workdir / stage / "log.jsonl").open()] == [1, 2]
    for split in splits:
        _check_predictions(workdir, split, len(classes))
    _check_metrics(metrics, with_boxes=name != "psol_folder")


def _check_predictions(workdir, split: str, classes: int) -> None:
    table = pq.read_table(workdir / "predictions" / f"{split}.parquet")
    columns = [name for name in table.column_names if name != "score"]  # which mirror averaging adds
    assert columns == ["image", "label", "x0", "y0", "x1", "y1", "top5_class", "top5_prob"]
    logits = np.load(workdir / "predictions" / f"{split}.logits.npy")
    assert logits.shape == (len(table), classes)
    np.testing.assert_array_equal(table["top5_class"].to_pylist(), np.argsort(-logits, axis=-1, kind="stable"))
    np.testing.assert_allclose(np.sum(table["top5_prob"].to_pylist(), axis=-1), 1, atol=1e-6)
    coco = json.loads((workdir / "predictions" / f"{split}.coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == table["image"].to_pylist()
    assert len(coco["annotations"]) == len(table)


def _check_metrics(metrics: dict[str, float], with_boxes: bool) -> None:
    assert all(type(value) is float for value in metrics.values())
    assert metrics["top5_cls"] == 100  # of three classes, all are among the five likeliest
    for source in ("", "pseudo/", "center_box/"):
        for metric in ("gt_known_loc", "top1_loc", "top5_loc", "psol_code/gt_known_loc"):
            assert (source + metric in metrics) == with_boxes
            assert not with_boxes or 0 <= metrics[source + metric] <= 100


@pytest.mark.long
@pytest.mark.parametrize("name", ["cam_cub", "cam_butterflies", "dawsol_cub_inception", "dawsol_openimages"])
def test_it_draws_maps_and_judges_them(name, tmp_path):
    config = _on_photos(name, tmp_path / "data")
    metrics = run(config, tmp_path / "w")
    found = experiments.files(tmp_path / "w")
    kinds = ("parquet", "coco.json", "logits.npy", "maps.npy")
    assert {"model/log.jsonl", "curves.json", *(f"predictions/test.{kind}" for kind in kinds)} <= found
    by_boxes = "openimages" not in name
    by_masks = not by_boxes or "butterflies" in name
    for source in ("", "center_gaussian/"):
        assert (f"{source}pxap" in metrics) == (f"{source}piou" in metrics) == by_masks
        assert (f"{source}max_box_acc_v2" in metrics) == (f"{source}exact/max_box_acc" in metrics) == by_boxes
    assert ("val_threshold/piou" in metrics) == ("openimages" in name)
    assert {"top1_cls", "top5_cls"} <= set(metrics)
    curves = json.loads((tmp_path / "w" / "curves.json").read_text())
    assert all(len(x) == len(y) and max(y) <= 100 for x, y in curves.values()) and len(curves) >= 4
