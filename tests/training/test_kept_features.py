"""Kept features: the network's own, computed once, and every view once an epoch."""

import tempfile
from functools import partial

import jax
import numpy as np
import pytest
import tiny

from wsol_jax import devices
from wsol_jax.data.drawing import cut
from wsol_jax.data.kept_views import box_in_view, kept_view, kept_views
from wsol_jax.errors import InputError
from wsol_jax.methods.localizer import features_of, on_features
from wsol_jax.paths import to_path
from wsol_jax.training import kept_features
from wsol_jax.training.kept_features import feature_batches, keep_features

VIEWS, BATCH = 3, 8


@pytest.fixture(scope="module")
def spatial():
    return tiny.experiment("localizer", "efficientnet_lite0", head="spatial", freeze="conv_head", loss="l1")


def keep(experiment, file, mesh=1):
    compute = partial(jax.jit(partial(features_of, experiment.method)), experiment.variables)
    records = experiment.dataset.splits["train"]
    keys = dict(views=VIEWS, size=tiny.SIZE, batch_size=BATCH, seed=0, mesh=tiny.mesh(mesh))
    return keep_features(file, compute, experiment.dataset.read, records, **keys)


def test_a_row_holds_the_features_of_its_view(spatial, tmp_path):
    kept = keep(spatial, tmp_path / "features.npy")
    records = spatial.dataset.splits["train"]
    assert len(kept.features) == VIEWS * len(records) and kept.features.dtype == np.float16
    view = kept_view(0, 7, 2)
    image = cut(spatial.dataset.read(records[7]), view.window, tiny.SIZE, view.flip)[None]
    expected = jax.jit(partial(features_of, spatial.method))(spatial.variables, image)
    np.testing.assert_allclose(kept.features[7 * VIEWS + 2], expected[0], rtol=2e-3, atol=2e-3)


@pytest.fixture(scope="module")
def whole(spatial, tmp_path_factory):
    return keep(spatial, tmp_path_factory.mktemp("whole") / "features.npy").features


def test_an_interrupted_computation_continues_with_the_same_rows(spatial, whole, tmp_path, monkeypatch):
    write, calls = kept_features.write_atomically, []

    def fail_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(kept_features, "write_atomically", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        keep(spatial, tmp_path / "cut.npy")
    monkeypatch.undo()
    assert (tmp_path / "cut.rows").read_text() == str(2 * BATCH)
    np.testing.assert_array_equal(keep(spatial, tmp_path / "cut.npy").features, whole)


def test_the_devices_have_work_while_features_are_written(spatial, whole, tmp_path, monkeypatch):
    """Two more batches are begun before the first one is fetched, and a row counts as done once it is written."""
    order, gather, fetch = [], devices.gather, devices.fetch

    def noted_gather(*arguments):
        order.append("begin")
        return gather(*arguments)

    def noted_fetch(array):
        order.extend(["fetch"] * (array.ndim == 4))
        return fetch(array)

    def noted_count(file, write):
        stop, rows = BATCH * (order.count("count") + 1), np.load(file.with_suffix(".npy"), mmap_mode="r")
        np.testing.assert_array_equal(rows, np.where(np.arange(len(rows))[:, None, None, None] < stop, whole, 0))
        order.append("count")

    monkeypatch.setattr(devices, "gather", noted_gather)
    monkeypatch.setattr(devices, "fetch", noted_fetch)
    monkeypatch.setattr(kept_features, "write_atomically", noted_count)
    keep(spatial, tmp_path / "features.npy")
    done = ["fetch", "count"]
    assert order == ["begin"] * 3 + [*done, "begin"] * 6 + done * 3


def test_a_file_of_other_photos_is_computed_anew(spatial, whole, tmp_path, monkeypatch):
    """Also if that is interrupted before the first batch."""

    def interrupt(_):
        raise KeyboardInterrupt

    np.save(tmp_path / "features.npy", np.zeros((len(whole) + 1, *whole.shape[1:]), np.float16))
    (tmp_path / "features.rows").write_text("8")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(devices, "fetch", interrupt)
        keep(spatial, tmp_path / "features.npy")
    np.testing.assert_array_equal(keep(spatial, tmp_path / "features.npy").features, whole)


def test_those_of_a_remote_run_are_in_no_file(spatial, whole, store, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = keep(spatial, to_path("gs://bucket/features.npy")).features
    assert not store.written and not list(tmp_path.iterdir())
    np.testing.assert_array_equal(kept, whole)


def test_a_full_disk_is_known_before_the_first_photo(spatial, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_features.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(InputError, match=r"features\.npy: the features need .* GB; the disk has 0\.00 GB left"):
        keep(spatial, tmp_path / "features.npy")


def test_an_epoch_is_every_view_once(spatial, tmp_path):
    kept, records = keep(spatial, tmp_path / "features.npy"), spatial.dataset.splits["train"]
    boxes, steps = tiny.true_boxes(spatial.dataset), range(len(kept.features) // BATCH)
    wanted = np.array([box_in_view(boxes[view.index], view) for view in kept_views(0, range(len(boxes)), VIEWS)])
    batches = list(feature_batches(kept, records, wanted, batch_size=BATCH, seed=0, steps=steps, mesh=tiny.mesh(1)))
    rows = np.concatenate([[(kept.features == image).all((1, 2, 3)).argmax() for image in b.image] for b in batches])
    assert sorted(rows) == list(range(len(kept.features)))
    index, target = (np.concatenate([getattr(b, name) for b in batches]) for name in ("index", "target"))
    np.testing.assert_array_equal(index, rows // VIEWS)
    expected = [box_in_view(boxes[row // VIEWS], kept_view(0, row // VIEWS, row % VIEWS)) for row in rows]
    np.testing.assert_allclose(target, expected, atol=1e-6)
    later = list(feature_batches(kept, records, wanted, batch_size=BATCH, seed=0, steps=steps[4:], mesh=tiny.mesh(1)))
    np.testing.assert_array_equal(later[0].image, batches[4].image)


def test_the_head_sees_what_the_whole_network_sees(spatial):
    batch = next(spatial.batches(range(1), tiny.mesh(1)))
    whole, _ = spatial.method.network(spatial.variables, spatial.method.prepare(batch.image), None, None, False)
    features = jax.jit(partial(features_of, spatial.method))(spatial.variables, batch.image)
    head = on_features(spatial.method)
    kept, _ = head.network(spatial.variables, head.prepare(features), None, None, False)
    np.testing.assert_allclose(kept.box, whole.box, atol=1e-5)
