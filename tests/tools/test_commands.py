"""The commands: their results, and one line for every mistake."""

import csv
import json
import re

import experiments
import numpy as np
import pages
import pyarrow.parquet as pq
import pytest
from ml_collections import ConfigDict

import wsol_jax
from wsol_jax.__main__ import COMMANDS, run
from wsol_jax.config import default_config
from wsol_jax.errors import InputError
from wsol_jax.recipes import fuse
from wsol_jax.tools.boxes import configuration, draw_boxes

FORMATS = {"boxes.parquet", "boxes.csv", "coco.json", "label_studio.json", "yolo/data.yaml", "index.html"}


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos in a folder for each class, the first of which has a file that is no photo."""
    place = tmp_path_factory.mktemp("photos")
    experiments.write_folder(place)
    first = min(path for path in place.iterdir())
    (first / "broken.jpg").write_text("no photo")
    return place


@pytest.fixture(scope="module")
def joint(tmp_path_factory):
    place = tmp_path_factory.mktemp("joint")
    wsol_jax.run(experiments.tiny(**{"stages": "pseudo_boxes,joint", "pseudo.source": "truth"}), place)
    return place


def small(config):
    """The same for a narrow network without weights."""
    config.pseudo.update(arch="vgg16", weights="", size=64, batch_size=8)
    config.pseudo.arch_kwargs = ConfigDict(experiments.NARROW["vgg16"])
    with config.unlocked():
        config.pseudo.views = ConfigDict()
    config.report.photos = 3
    return config


def test_boxes_of_photos_with_and_without_classes(folder, tmp_path):
    draw_boxes(small(configuration(folder, "class")), tmp_path / "out")
    assert names(tmp_path / "out") >= FORMATS | {"unreadable.csv"}
    table = pq.read_table(tmp_path / "out" / "boxes.parquet").to_pydict()
    photos = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg") if path.stem != "broken")
    assert table["image"] == photos and set(table["label"]) == {0, 1, 2}
    assert all(0 <= score <= 1 for score in table["score"])
    (tmp_path / "flat").mkdir()
    for photo in photos[:4]:
        (tmp_path / "flat" / photo.replace("/", "_")).write_bytes((folder / photo).read_bytes())
    draw_boxes(small(configuration(tmp_path / "flat", "class")), tmp_path / "out")  # other photos, the same place
    assert names(tmp_path / "out") >= FORMATS and "unreadable.csv" not in names(tmp_path / "out")
    coco = json.loads((tmp_path / "out" / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == sorted(names(tmp_path / "flat"))
    assert {a["category_id"] for a in coco["annotations"]} == {1} and len(coco["annotations"]) == 4
    assert coco["categories"] == [{"id": 1, "name": "object"}]
    assert (tmp_path / "out" / "run" / "pseudo_boxes" / "ddt" / "0000_dataset.npz").exists()
    assert len(pages.photos((tmp_path / "out" / "index.html").read_text())) == 3  # of four


def test_photos_without_labels_train_a_localizer_alone(folder, tmp_path):
    (tmp_path / "flat").mkdir()
    for i, photo in enumerate(sorted(folder.rglob("train_*.jpg"))):
        (tmp_path / "flat" / f"{i}.jpg").write_bytes(photo.read_bytes())
    keys = {"data.name": "folder", "data.dir": str(tmp_path / "flat"), "predict.splits": "all"}
    with pytest.raises(
        InputError, match="12 training photos have no label, which the stage classifier learns; expected"
    ):
        wsol_jax.run(experiments.tiny(**keys), tmp_path / "w")
    keys["stages"] = "pseudo_boxes,localizer,predict,boxes,evaluate,report"
    wsol_jax.run(experiments.tiny(**keys), tmp_path / "w")
    coco = json.loads((tmp_path / "w" / "boxes" / "coco.json").read_text())
    assert len(coco["annotations"]) == 12
    model = wsol_jax.load(tmp_path / "w")
    one = model.predict(tmp_path / "flat" / "0.jpg")
    assert one.label is None and one.boxes.shape == (1, 4)


def test_boxes_have_the_fused_recipe(folder):
    config, expected = configuration(folder, "dataset"), default_config()
    fuse(expected)
    expected.pseudo.group = "dataset"
    assert config.pseudo.to_dict() == expected.pseudo.to_dict() and len(config.pseudo.views) == 2


def test_predictions_of_a_run(folder, joint, tmp_path):
    out = tmp_path / "out"
    assert run(["predict", str(joint), str(folder), f"--out={out}", "--batch_size=8"]) == 0
    assert names(out) >= FORMATS | {"unreadable.csv"}
    rows = list(csv.reader((out / "unreadable.csv").open()))
    assert len(rows) == 2 and rows[1][0].endswith("/broken.jpg") and "not a readable photo" in rows[1][1]
    table = pq.read_table(out / "boxes.parquet").to_pydict()
    model = wsol_jax.load(joint)
    for row in (0, len(table["image"]) - 1):
        one = model.predict(folder / table["image"][row])
        np.testing.assert_allclose(one.boxes[0], [table[corner][row] for corner in ("x0", "y0", "x1", "y1")], atol=1e-4)
        assert model.classes[table["top5_class"][row][0]] == one.label
    coco = json.loads((out / "coco.json").read_text())
    assert [category["name"] for category in coco["categories"]] == list(model.classes)
    assert len(coco["annotations"]) == len(coco["images"]) == 15


def test_an_export(joint, tmp_path, capsys):
    assert run(["export", str(joint), str(tmp_path / "m.bin"), "--platforms=cpu"]) == 0
    assert names(tmp_path) == {"m.bin", "m.bin.json"} and capsys.readouterr().out.startswith("written   ")
    assert run(["export", str(joint), str(tmp_path / "m.bin"), "--platforms=abacus"]) == 2
    assert capsys.readouterr().err == "error: platforms: 'abacus'; expected some of cpu, cuda, tpu, rocm\n"


MISTAKES = {
    "no command": (["draw"], r"there is no command 'draw'; expected one of boxes, predict"),
    "no folder": (["boxes", "TMP/nowhere", "--out=TMP/o"], "nowhere: no such folder or photo"),
    "one photo": (["boxes", "TMP/one/a.jpg", "--out=TMP/o"], r"a\.jpg is a photo; expected a folder"),
    "no photos": (["boxes", "TMP/empty", "--out=TMP/o"], r"empty has no photos; expected files that end in \.bmp"),
    "no out": (["boxes", "TMP/empty"], "the following arguments are required: --out"),
    "results among the photos": (
        ["boxes", "TMP/one", "--out=TMP/one/o"],
        "is inside of .*one; expected a folder outside",
    ),
    "only what is no photo": (["boxes", "TMP/one", "--out=TMP/o"], "no training photo|is empty|no photo"),
    "no photo to predict": (["predict", "RUN", "TMP/one", "--out=TMP/o"], r"none of 1 photos can be read; the first: "),
    "no run": (
        ["predict", "TMP/empty", "TMP/one", "--out=TMP/o"],
        r"has no config\.json; expected the workdir of a run",
    ),
    "nothing to export": (["export", "TMP/nowhere", "TMP/m"], "nowhere: no such folder; expected the workdir of a run"),
}


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(arguments, expected, joint, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jpg").write_text("no photo")
    given = [one.replace("TMP", str(tmp_path)).replace("RUN", str(joint)) for one in arguments]
    assert run(given) == 2
    out, err = capsys.readouterr()
    line = err.splitlines()[-1]
    assert out == "" and line.startswith("error: ") and "Traceback" not in err and re.search(expected, line)


def test_help(capsys):
    assert run([]) == run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [shown.count(f"    wsol_jax {name}") for name in COMMANDS] == [2] * len(COMMANDS)
