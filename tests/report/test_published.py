"""The published numbers: complete, unambiguous, and as printed in the papers."""

import csv
import tomllib
from pathlib import Path

import experiments
import numpy as np
import pytest

import wsol_jax
from wsol_jax import run
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import write_predictions
from wsol_jax.report.published import COLUMNS, FILE, PAPERS, published_rows, read_published

PACKAGE = Path(wsol_jax.__file__).parent
BOXES = {"gt_known_loc", "top1_loc", "top5_loc"}
MAPS = {"top1_loc_map", "max_box_acc_v2", "max_box_acc_v2_iou50", "piou", "pxap"}
PERCENT = BOXES | MAPS
OTHERS = {"parameters_millions", "flops_billions", "train_ms", "test_ms", "train_photos"}
NUMBERS = {
    ("psol", "Table 1"): 14,
    ("psol", "Table 2"): 135,
    ("psol", "Table 3"): 10,
    ("psol", "Table 4"): 16,
    ("psol", "Table 5"): 10,
    ("psol", "Section 4.1"): 1,
    ("dawsol", "Table 1"): 97,
    ("dawsol", "Table 2"): 32,
    ("dawsol", "Table 3"): 20,
    ("dawsol", "Table 4"): 48,
    ("dawsol", "Section 4.1"): 1,
    ("dawsol_readme", "README"): 20,
    ("wsolevaluation", "Main table"): 66,
    **{(paper, "repository"): 4 for paper in ("bas", "spol", "isic", "cream", "tscam", "lctr", "scm", "sat")},
    ("genpromp", "repository"): 4,
    ("c2am", "repository"): 6,
    ("bagcams", "repository"): 8,
    ("trt", "repository"): 6,
    ("vitol", "repository"): 3,
}


def number(paper, table, dataset, method, backbone, metric):
    key = (paper, table, dataset, method, backbone, metric)
    (line,) = [line for line in read_published() if line[:6] == key]
    return line


def test_the_file_is_complete():
    with FILE.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert {len(line) for line in lines} == {len(COLUMNS)}
    published = read_published()
    counts = {key: sum((line.paper, line.table) == key for line in published) for key in NUMBERS}
    assert counts == NUMBERS
    assert len(published) == sum(NUMBERS.values())


def test_the_file_is_part_of_an_installed_package():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    assert any(FILE in PACKAGE.glob(pattern) for pattern in project["tool"]["setuptools"]["package-data"]["wsol_jax"])


def test_every_line_has_known_names():
    for line in read_published():
        assert line.paper in PAPERS
        assert line.dataset in ("cub", "ilsvrc", "openimages")
        assert line.metric in PERCENT | OTHERS
        assert line.metric == "train_photos" or line.method
        assert 0 < float(line.value) <= (100 if line.metric in PERCENT else float("inf"))


def test_no_number_comes_twice():
    keys = [line[:6] for line in read_published()]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (("psol", "Table 1", "cub", "DDT-VGG16", "VGG16", "gt_known_loc"), "84.55"),
        (("psol", "Table 1", "ilsvrc", "DDT-InceptionV3", "InceptionV3", "gt_known_loc"), "51.87"),
        (("psol", "Table 2", "cub", "PSOL-ResNet50-Sep", "ResNet50", "top1_loc"), "70.68"),
        (("psol", "Table 2", "cub", "PSOL-ResNet50-Joint", "ResNet50", "top5_loc"), "83.69"),
        (("psol", "Table 2", "ilsvrc", "PSOL-DenseNet161-Sep", "DenseNet161", "gt_known_loc"), "66.28"),
        (("psol", "Table 2", "ilsvrc", "PSOL-VGG16-Joint", "VGG16", "gt_known_loc"), "62.1"),
        (("psol", "Table 2", "ilsvrc", "ADL", "ResNet50-SE", "flops_billions"), "6.10"),
        (("psol", "Table 3", "cub", "PSOL-VGG-GAP-Sep (trained on ImageNet)", "VGG-GAP", "gt_known_loc"), "89.11"),
        (("psol", "Table 3", "cub", "SPG* + CAM (trained on ImageNet)", "InceptionV3", "gt_known_loc"), "59.70"),
        (("psol", "Table 4", "ilsvrc", "PSOL-DenseNet161-Sep + EfficientNet-B7", "DenseNet161", "top5_loc"), "65.02"),
        (("psol", "Table 5", "ilsvrc", "ResNet + Faster-RCNN-ensemble", "ResNet", "top5_loc"), "90.0"),
        (("dawsol", "Table 1", "ilsvrc", "DA-WSOL", "ResNet50", "top1_loc_map"), "43.26"),
        (("dawsol", "Table 1", "ilsvrc", "DA-WSOL (two-stage)", "ResNet50", "top1_loc_map"), "55.84"),
        (("dawsol", "Table 1", "ilsvrc", "DA-WSOL", "ResNet50", "max_box_acc_v2_iou50"), "70.27"),
        (("dawsol", "Table 1", "cub", "IVR", "ResNet50", "max_box_acc_v2"), "71.23"),
        (("dawsol", "Table 2", "openimages", "DA-WSOL", "InceptionV3", "pxap"), "64.46"),
        (("dawsol", "Table 3", "openimages", "Lc + Lu + TSA (MMD)", "ResNet50", "pxap"), "61.50"),
        (("dawsol", "Table 4", "openimages", "HAS + MMD", "ResNet50", "pxap"), "64.15"),
        (("dawsol", "Table 4", "openimages", "CAM + MMD", "ResNet50", "train_ms"), "25.25"),
        (("dawsol_readme", "README", "cub", "DA-WSOL", "InceptionV3", "piou"), "51.81"),
        (("wsolevaluation", "Main table", "cub", "Few-shot learning", "InceptionV3", "max_box_acc_v2"), "86.6"),
        (("wsolevaluation", "Main table", "openimages", "Center Gaussian", "", "pxap"), "45.8"),
        (("bas", "repository", "ilsvrc", "BAS", "ResNet50", "gt_known_loc"), "71.8"),
        (("c2am", "repository", "cub", "C2AM (MoCo)", "ResNet50", "top1_loc"), "74.8"),
        (("bagcams", "repository", "cub", "DA-WSOL + BagCAMs", "ResNet50", "max_box_acc_v2"), "84.9"),
        (("vitol", "repository", "ilsvrc", "ViTOL-LRP", "DeiT", "max_box_acc_v2"), "70.5"),
        (("genpromp", "repository", "cub", "GenPromp", "SD 1.4 + EfficientNet-B7", "gt_known_loc"), "98.0"),
    ],
)
def test_as_printed(key, value):
    assert number(*key).value == value


@pytest.mark.parametrize(
    ("key", "value", "note"),
    [
        (("psol", "Table 2", "ilsvrc", "PSOL-VGG-GAP-Sep", "VGG-GAP", "parameters_millions"), "29.64", "misprint"),
        (
            ("psol", "Table 2", "ilsvrc", "PSOL-InceptionV3-Joint", "InceptionV3", "parameters_millions"),
            "29.21",
            "28.21",
        ),
        (("dawsol", "Table 2", "openimages", "CutMix", "ResNet50", "pxap"), "57.57", "60.64 in Table 4"),
        (("dawsol", "Table 4", "openimages", "CutMix", "ResNet50", "pxap"), "60.64", "57.57 in Table 2"),
        (
            ("dawsol", "Table 1", "ilsvrc", "PSOL", "ResNet50", "max_box_acc_v2_iou50"),
            "65.54",
            "65.44 in PSOL's Table 2",
        ),
        (("dawsol", "Section 4.1", "openimages", "", "", "train_photos"), "19819", "29819"),
        (("psol", "Section 4.1", "ilsvrc", "", "", "train_photos"), "1281197", "1281167"),
    ],
)
def test_misprints_are_noted(key, value, note):
    line = number(*key)
    assert line.value == value
    assert note in line.note


def test_rows_of_a_dataset():
    rows = published_rows("cub", BOXES)
    (row,) = [row for row in rows if (row.source, row.method) == ("PSOL, Table 2", "PSOL-DenseNet161-Sep")]
    assert row.backbone == "DenseNet161"
    assert row.values == {"top1_loc": "74.97", "top5_loc": "89.12"}
    assert all(row.values.keys() <= BOXES for row in rows)
    tables = {row.source for row in rows if not row.source.endswith(", repository")}
    assert tables == {"PSOL, Table 1", "PSOL, Table 2", "PSOL, Table 3"}
    today = ("BAS", "SPOL", "ISIC", "CREAM", "C2AM", "TS-CAM", "LCTR", "SCM", "TRT", "SAT", "GenPromp")
    assert {row.source for row in rows} - tables == {f"{name}, repository" for name in today}
    assert len(rows) == len({(row.source, row.method, row.backbone) for row in rows})
    (transferred,) = [row for row in rows if row.method == "SPG* + CAM (trained on ImageNet)"]
    assert transferred.notes == {"gt_known_loc": "only the last layer is fine-tuned on CUB-200"}


def test_no_rows():
    assert published_rows("", BOXES) == published_rows("cub", ()) == published_rows("openimages", BOXES) == []
    assert published_rows("openimages", MAPS) != []


@pytest.mark.parametrize(("dataset", "shown"), [("cub", True), ("ilsvrc", True), ("openimages", False), ("", False)])
def test_the_report_prints_those_of_its_dataset(dataset, shown, tmp_path):
    scenes = experiments.scenes()
    records = [record for split in scenes.splits.values() for record in split]
    labels = np.array([[record.label] for record in records], np.int32)
    truth = np.concatenate([record.boxes for record in records])
    write_predictions(tmp_path / "p.parquet", records, Predictions(truth, top5_class=labels, top5_prob=labels + 1.0))
    files = {f"predict.{name}_from": str(tmp_path / "p.parquet") for name in ("boxes", "classes")}
    config = experiments.tiny(**files, **{"stages": "predict,evaluate,report", "report.published": dataset})
    run(config, tmp_path / "w")
    page = (tmp_path / "w" / "report" / "index.html").read_text()
    assert ("<h2>Published results</h2>" in page) == shown
    assert ("74.97" in page) == (dataset == "cub")
    assert ("58.00" in page) == (dataset == "ilsvrc")
