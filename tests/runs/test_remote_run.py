"""A run whose workdir and photos are in a store, against the same run in folders."""

import sys

import experiments
import pytest
import tiny
from ml_collections import ConfigDict

from wsol_jax import load, run
from wsol_jax.errors import InputError
from wsol_jax.paths import copy_folder, to_path
from wsol_jax.tools import predict
from wsol_jax.training import loop

STAGES = "pseudo_boxes,localizer,predict,evaluate,report"
OTHERS = {"config.json", "photos.parquet", "report/index.html"}  # data.dir and the times of the photos are in them


def config(folder):
    keys = experiments.tiny("psol_cub", **{"data.dir": str(folder), "stages": STAGES, "localizer.arch": "vgg_gap"})
    keys.localizer.arch_kwargs = ConfigDict(experiments.NARROW["vgg_gap"])  # quick to compile
    return keys


def test_an_interrupted_remote_run_ends_with_the_same_results_bit_for_bit(store, tmp_path, monkeypatch):
    photos, workdir = to_path("gs://bucket/cub"), to_path("gs://bucket/runs/w")
    experiments.write_cub(tmp_path / "cub")
    copy_folder(tmp_path / "cub", photos)
    save, complete = loop.save, "runs/w/localizer/checkpoints/1/commit_success.txt"

    def save_once(checkpoints, state):
        if int(state.step) == 2:
            tiny.wait_for(lambda: complete in store.objects)
            raise KeyboardInterrupt
        save(checkpoints, state)

    monkeypatch.setattr(loop, "save", save_once)
    with pytest.raises(KeyboardInterrupt):
        run(config(photos), str(workdir))
    monkeypatch.undo()
    assert not (workdir / "run.lock").exists()
    store.written.clear()
    metrics = run(config(photos), str(workdir))
    assert not [name for name in store.written if "checkpoints/1/" in name or "/pseudo_boxes/" in name]

    local = tmp_path / "w"
    assert run(config(tmp_path / "cub"), local) == metrics
    names = experiments.files(local)
    assert experiments.files(workdir) == names
    different = {name for name in names if (workdir / name).read_bytes() != (local / name).read_bytes()}
    assert different == OTHERS

    photo = store.objects.keys() & {f"cub/images/{name}/test_0.jpg" for name in ("checks", "dots", "stripes")}
    ours, theirs = load(str(workdir)).predict(f"gs://bucket/{min(photo)}"), load(local).predict(tmp_path / min(photo))
    assert ours.boxes.tolist() == theirs.boxes.tolist()
    assert predict.main([str(workdir), str(photos / "images"), "--out=gs://bucket/out"]) == 0
    assert predict.main([str(local), str(tmp_path / "cub" / "images"), f"--out={tmp_path / 'out'}"]) == 0
    same = experiments.files(tmp_path / "out")
    assert experiments.files(to_path("gs://bucket/out")) == same
    assert {n for n in same if store.objects[f"out/{n}"][0] != (tmp_path / "out" / n).read_bytes()} == {"index.html"}


def test_a_workdir_where_no_checkpoint_can_be_written_is_one_line(store, monkeypatch):
    with pytest.raises(InputError, match=r"--workdir=s3://b/w: no checkpoint can be written there; expected a folder"):
        run(config("absent"), "s3://b/w")
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    with pytest.raises(InputError, match=r"--workdir=gs://bucket/w: expected the package google-cloud-storage"):
        run(config("absent"), "gs://bucket/w")
