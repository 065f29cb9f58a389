"""Comparisons of runs: groups by seed, files with harmless names, and one line for runs that cannot be compared."""

import csv
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from ml_collections import ConfigDict

from wsol_jax.__main__ import run
from wsol_jax.data import index
from wsol_jax.data.records import Record
from wsol_jax.evaluation.photo_results import write
from wsol_jax.stages import identity
from wsol_jax.stages.workdir import photos_file, results_file

PHOTOS = 40
FILES = {"comparison.md", "comparison.csv", "comparison.pdf", "comparison.png", "means.tex", "differences.tex"}


def finished(workdir, seed=0, method="cam", rate=0.5, photos=PHOTOS, unfinished="", pseudo_from=""):
    """The files of a run that a comparison reads, of photos whose boxes are right at a rate."""
    records = [Record(f"{i}.jpg", 0, (9, 9), np.array([[0, 0, 1, 0.5]])) for i in range(photos)]
    rng = np.random.default_rng([seed, round(100 * rate)])
    write(results_file(workdir, "test"), records, {"gt_known_loc": (rng.random(photos) < rate) * 1.0}, None)
    keys = {"train": {"method": method, "watch": 0}, "evaluate": {"threshold_step": 0.1, "resamples": seed + 1}}
    inputs: dict[str, str] = {"weights.pth": "digest"}
    if pseudo_from:
        keys["evaluate"]["pseudo_from"] = pseudo_from
    for stage, config in keys.items():
        if "pseudo_from" in config:
            inputs |= {f"{pseudo_from}/stages/pseudo_boxes.json": f"digest of {pseudo_from}"}
        one = identity.identify(ConfigDict(config), seed, inputs, {})
        identity.write(workdir, stage, one._replace(finished=stage != unfinished))
        inputs = {stage: one.fingerprint}
    data = {"name": "cub", "dir": str(workdir)}
    (workdir / "config.json").write_text(json.dumps({"stages": "train,evaluate,report", "data": data}))
    (workdir / "metrics.json").write_text("{}")
    return str(workdir)


def check_content(workdir, content):
    """Write what a run knows of the files of its photos: the first one's content, and nothing of the others'."""
    paths = [f"{i}.jpg" for i in range(PHOTOS)]
    texts = {name: [""] * PHOTOS for name in ("content", "first", "reason")}
    texts["content"] = [content, *texts["content"][1:]]
    columns = {name: pa.array(column, pa.string()) for name, column in texts.items()}
    known = index.read_table(None, dict.fromkeys(texts, pa.string()))
    index.write_table(photos_file(workdir), known, paths, np.zeros((PHOTOS, 3), np.int64), columns)


def compare(tmp_path, *arguments):
    return run(["compare", *arguments, f"--out={tmp_path / 'out'}", "--resamples=30"])


def rows(tmp_path):
    return {row["group"]: row for row in csv.DictReader((tmp_path / "out" / "comparison.csv").open())}


def test_runs_that_differ_in_their_seed_are_a_group(tmp_path):
    for seed in range(3):
        finished(tmp_path / f"cam_{seed}", seed)
    hard = finished(tmp_path / "has$|_<b>", 1, method="has", rate=0.9)
    assert compare(tmp_path, f"{tmp_path}/cam_*", hard) == 0
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == FILES
    table = rows(tmp_path)
    assert list(table) == ["cam_0", "has$|_<b>"] and table["cam_0"]["n"] == "3"
    assert float(table["cam_0"]["deviation"]) > 0 and table["cam_0"]["difference"] == ""
    has = table["has$|_<b>"]
    assert has.pop("deviation") == "" and has.pop("metric") == "gt_known_loc" and has.pop("group")
    has = {name: float(value) for name, value in has.items()}
    assert has["difference"] == pytest.approx(has["mean"] - float(table["cam_0"]["mean"]))
    assert 0 < has["difference low"] <= has["difference"] <= has["difference high"]
    text = (out / "comparison.md").read_text()
    assert r"has$\|\_\<b\>" in text and "<b>" not in text.replace(r"\<b\>", "")
    for line in (
        r"- cam\_0: n = 3, seeds 0, 1, 2",
        r"\<b\>: n = 1, seed 1, no deviation",
        r"- cam\_0 has the seed 0, 2 without a twin in has$\|\_\<b\>",
        r"differs from cam\_0: train.method is 'has'",
    ):
        assert line in text
    assert r"has\$|\_<b>" in (out / "means.tex").read_text() and r" $\pm$ " in (out / "means.tex").read_text()
    assert (out / "comparison.png").read_bytes()[:4] == b"\x89PNG" and (out / "comparison.pdf").read_bytes()[
        :4
    ] == b"%PDF"


def test_names_and_one_group(tmp_path):
    runs = [finished(tmp_path / name / "w", seed) for seed, name in enumerate("ab")]
    assert compare(tmp_path, *(f"CAM={place}" for place in runs), "--metrics=gt_known_loc") == 0
    assert list(rows(tmp_path)) == ["CAM"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES - {"differences.tex"}


def test_runs_of_one_name_may_have_other_inputs(tmp_path):
    runs = [finished(tmp_path / f"cam_{i}", i, pseudo_from=f"runs/ddt_{i}") for i in range(3)]
    assert compare(tmp_path, *(f"CAM={place}" for place in runs)) == 0
    assert list(rows(tmp_path)) == ["CAM"] and rows(tmp_path)["CAM"]["n"] == "3"
    line = "- the runs of CAM differ in evaluate.pseudo_from too: 'runs/ddt_0', 'runs/ddt_1', 'runs/ddt_2'"
    assert line in (tmp_path / "out" / "comparison.md").read_text().replace("\\_", "_")
    assert compare(tmp_path, *runs) == 0
    assert list(rows(tmp_path)) == ["cam_0", "cam_1", "cam_2"]


def test_photos_are_the_same_files_as_far_as_that_is_known(place, tmp_path):
    assert compare(tmp_path, str(place / "CHECKED"), str(place / "HAS")) == 0
    finished(tmp_path / "copy", 1)
    check_content(tmp_path / "copy", "a")
    assert compare(tmp_path, str(place / "CHECKED"), str(tmp_path / "copy")) == 0


MISTAKES = {
    "other photos": (["A", "FEWER"], r"FEWER: its test photos are not those of .*A: it has 9 photos, and there are 40"),
    "other pixels": (["CHECKED", "CHANGED"], r"not those of .*CHECKED: 0\.jpg is a file with other content; expected"),
    "not finished": (["A", "STOPPED"], "STOPPED: its stage train is not finished"),
    "stale": (["A", "STALE"], "STALE: its stage evaluate is older than train"),
    "no run": (["A", "OUT"], "OUT has no config.json; expected the workdir of a run"),
    "no folder": (["A", "NOWHERE"], "NOWHERE: no such folder"),
    "no match": (["A", "NOWHERE*"], r"NOWHERE\*: no such folders"),
    "older": (
        ["A", "OLDER"],
        "OLDER has no results of single photos; the command of the run redoes its stage evaluate",
    ),
    "another split": (["A", "--split=val"], "A has no val photos; expected one of its splits, test"),
    "the same seed": (["A", "AGAIN"], "AGAIN has the seed 0 and the keys of .*A; expected runs that differ"),
    "twice": (["A", "A"], "A comes twice"),
    "one name": (["X=A", "X=HAS"], "both called X, but differ in train.method"),
    "one name, an input": (["X=A", "X=INPUT"], "both called X, but differ in evaluate.pseudo_from, runs/ddt_1/stages"),
    "one name, a key": (["X=INPUT", "X=KEY"], "both called X, but differ in evaluate.pseudo_from, .*train.method"),
    "one name, a seed": (["X=INPUT", "X=TWIN"], "both called X, but differ in evaluate.pseudo_from"),
    "no metric": (["A", "--metrics=iou"], "no run has iou; expected some of gt_known_loc"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    for name in ("A", "AGAIN", "OLDER"):
        finished(place / name)
    finished(place / "FEWER", photos=9)
    finished(place / "STOPPED", unfinished="train")
    finished(place / "STALE")
    retrained = identity.read(place / "STALE", "train")._replace(fingerprint="another")
    identity.write(place / "STALE", "train", retrained)
    finished(place / "HAS", method="has")
    finished(place / "INPUT", 1, pseudo_from="runs/ddt_1")
    finished(place / "KEY", 2, method="has", pseudo_from="runs/ddt_2")
    finished(place / "TWIN", 1, pseudo_from="runs/ddt_2")
    for name, seed in (("CHECKED", 0), ("CHANGED", 1)):
        finished(place / name, seed)
        check_content(place / name, "ab"[seed])
    (place / "OUT").mkdir()
    results_file(place / "OLDER", "test").unlink()
    results_file(place / "OLDER", "test").parent.rmdir()
    return place


@pytest.mark.parametrize(("arguments", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_runs_that_cannot_be_compared_are_one_line(arguments, expected, place, tmp_path, capsys):
    given = [one if one.startswith("--") else re.sub("([A-Z*]+)$", rf"{place}/\1", one) for one in arguments]
    assert compare(tmp_path, *given) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and not (tmp_path / "out").exists()
    assert re.search(expected, err)
