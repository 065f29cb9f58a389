"""Measurements while a network trains: the gap to pixels on and off the object, and the purity of the sets."""

import experiments
import numpy as np
import pytest
import tiny

from wsol_jax import processes, run
from wsol_jax.errors import InputError
from wsol_jax.training import watch as watching
from wsol_jax.training.log import WATCH, read_log
from wsol_jax.training.watch import Seen, make_watch, measure, object_share, watched


def test_a_cell_is_as_much_object_as_its_known_pixels():
    mask = np.array([[1, 1, 0, 255], [1, 0, 255, 255], [0, 0, 255, 255], [0, 0, 255, 255]], np.uint8)
    np.testing.assert_array_equal(object_share(mask, 2), [[0.75, 0.0], [0.0, np.nan]])


def seen(assignment=None):
    """Six photos of 4 x 4 cells, the upper three rows of each object; so a photo's mean lies nearer to its object."""
    features = np.random.default_rng(0).standard_normal((6, 4, 4, 8)) * 0.1
    features[:, :3] += 1
    features[:, 3] -= 3
    share = np.zeros((6, 4, 4))
    share[:, :3] = 1
    return Seen(features.astype(np.float32), assignment), share


def test_the_gap_is_smaller_to_what_is_nearer():
    photos, share = seen()
    values, moved = measure(photos, share, 0), measure(Seen(5 + 2 * photos.features, None), share, 0)
    assert values["foreground"] == 75 and values["gap_background"] > values["gap_foreground"] > 0
    assert moved == pytest.approx(values, rel=1e-3)


def test_purity_is_the_share_of_object_in_a_set():
    assignment = np.full((6, 4, 4), 1, np.int32)
    assignment[:, 0] = 2
    values = measure(*seen(assignment), 0)
    assert values["purity_real"] == 100 and values["purity_fake"] == pytest.approx(200 / 3)
    assert "purity_universum" not in values


def test_another_process_than_the_first_measures_nothing_and_waits(monkeypatch):
    experiment, waits = tiny.experiment("train", "vgg_gap", method="cam"), []
    records = watched(2, experiment.dataset)
    of_epoch = make_watch(experiment.method, records, experiment.config, experiment.dataset, seed=0, mesh=tiny.mesh(1))
    monkeypatch.setattr(processes, "wait_for_first", lambda: waits.append("waits"))
    assert {"foreground", "gap_foreground"} <= set(of_epoch(experiment.variables)) and waits == ["waits"]
    monkeypatch.setattr(processes, "is_first", lambda: False)
    monkeypatch.setattr(watching, "measure", None)
    assert of_epoch(experiment.variables) == {} and waits == ["waits"] * 2


@pytest.mark.long
@pytest.mark.parametrize("use", [False, True])
def test_a_training_is_watched_before_and_after_every_epoch(use, tmp_path):
    experiments.write_lists(tmp_path / "data")
    keys = {"data.dir": str(tmp_path / "data"), "train.watch": 4, "train.epochs": 1.5, "train.dawsol.use": use}
    config = experiments.tiny("cam_butterflies", **(keys | {"train.dawsol.samples": 2}))
    config.stages = "train"
    run(config, tmp_path / "w")
    lines = read_log(tmp_path / "w" / "model", WATCH)
    steps = [line["step"] for line in lines]
    assert [line["epoch"] for line in lines][:2] == [0, 1] and steps == sorted(set(steps))
    assert steps[-1] == read_log(tmp_path / "w" / "model")[-1]["step"]
    assert all({"foreground", "gap_foreground", "gap_background"} <= set(line) for line in lines)
    assert all(any(name.startswith("purity_") for name in line) == use for line in lines)


def test_lines_before_the_first_checkpoint_are_not_repeated(tmp_path):
    """A run that is killed before its first checkpoint starts anew, with a line for the step 0 in its file."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / WATCH).write_text('{"step": 0, "epoch": 0}\n{"step": 3, "epoch": 1}\n')
    watched = []

    def watch(variables):
        watched.append(sorted(variables))
        return {"foreground": 1.0}

    tiny.experiment("train", method="cam").train(folder, tiny.mesh(1), watch=watch)
    assert [line["step"] for line in read_log(folder, WATCH)] == [0, 3, 4]
    assert watched == [["batch_stats", "params"]] * 2


def test_photos_without_masks_cannot_be_watched(tmp_path):
    experiments.write_cub(tmp_path / "data")
    config = experiments.tiny("cam_birds25", **{"data.dir": str(tmp_path / "data"), "train.watch": 4})
    with pytest.raises(InputError, match="watch is 4, but no photo of the split 'test' has a mask"):
        run(config, tmp_path / "w")
