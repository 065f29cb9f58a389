"""C2AM as a source of pseudo boxes: trained, cut off and continued, alone and as one of several views."""

import jax
import numpy as np
import pytest
import small
import tiny
from ml_collections import ConfigDict

from wsol_jax import arrays, processes
from wsol_jax.errors import InputError
from wsol_jax.methods.c2am import c2am
from wsol_jax.predictions.table import read_predictions
from wsol_jax.pseudo.fusion import fuse
from wsol_jax.stages import c2am_maps, feature_training
from wsol_jax.stages.context import Context
from wsol_jax.stages.identity import identify
from wsol_jax.stages.pseudo_boxes import STAGE, check, check_keys, run
from wsol_jax.stages.training import initial_variables
from wsol_jax.stages.workdir import features_file, foreground_file, heat_file, network_folder, pseudo_boxes_file
from wsol_jax.training import loop
from wsol_jax.weights.pretrained import save_weights


def config(**changes) -> ConfigDict:
    """The keys of `pseudo` for C2AM on a narrow frozen network: 48 steps of four kept features."""
    keys = tiny.get_config().pseudo.unlock()
    keys.update(source="c2am", batch_size=8, threshold="bilinear_paper", size=tiny.SIZE)
    keys.arch, keys.weights, keys.size = "resnet50", "", tiny.SIZE
    keys.arch_kwargs = ConfigDict(tiny.NARROW["resnet50"])
    with keys.c2am.unlocked():
        keys.c2am.update(size=tiny.SIZE, map_size=tiny.SIZE, batch_size=4, epochs=4.0, checkpoint_every=20)
        keys.c2am.update(freeze="layer4", optimiser="adamw", learning_rate=1e-2, **changes)
        keys.c2am.arch_kwargs = ConfigDict(tiny.NARROW["resnet50"] | {"stride": 16})
    return keys.lock()


@pytest.fixture(scope="module")
def surroundings():
    return Context(None, tiny.scenes(train=24, test=4), 0, tiny.mesh(1), {})


@pytest.fixture(scope="module")
def finished(surroundings, tmp_path_factory):
    """A folder of boxes from C2AM's maps."""
    context = surroundings._replace(workdir=tmp_path_factory.mktemp("c2am"))
    run(config(), context)
    return context


def test_every_photo_has_a_box_cut_from_its_map(finished):
    for split, records in finished.dataset.splits.items():
        boxes = read_predictions(pseudo_boxes_file(finished.workdir, split), records)
        heat = np.load(heat_file(finished.workdir, split))
        assert heat.shape == (len(records), 4, 4)
        assert (np.abs(heat) <= 0.5).all()
        np.testing.assert_array_equal(boxes.fallback, heat.max((1, 2)) <= 0)
        assert not boxes.fallback.all()


def test_it_starts_from_a_file_of_weights(tmp_path):
    published = small.variables(small.network("resnet50", 7))
    save_weights(published, tmp_path / "resnet50.safetensors")
    keys = config(weights=str(tmp_path / "resnet50.safetensors")).c2am
    with keys.unlocked():
        keys.arch_kwargs = ConfigDict(small.NARROW["resnet50"] | {"stride": 16})
    variables, line = initial_variables(c2am(keys), keys, 0)
    assert "new: ac_head.activation_head, ac_head.bn_head" in line
    jax.tree.map(np.testing.assert_array_equal, variables["params"]["backbone"], published["params"]["backbone"])


def test_it_starts_from_a_head_of_its_own(tmp_path):
    method = c2am(config().c2am)
    trained = jax.tree.map(lambda leaf: leaf + np.float32(1), initial_variables(method, config().c2am, 0)[0])
    save_weights(trained, tmp_path / "c2am.safetensors")
    keys = config(weights=str(tmp_path / "c2am.safetensors"), new_head=False).c2am
    variables, line = initial_variables(c2am(keys), keys, 1)
    tiny.assert_trees_equal(variables, trained)
    assert "new" not in line and c2am(keys).group(("head", "ac_head.activation_head", "kernel")) == "base"


def test_its_boxes_have_the_fingerprint_of_versions_without_new_head():
    older = config().copy_and_resolve_references().unlock()
    del older.c2am.new_head
    fingerprint = identify(older, 0, {}, {}, STAGE.without_effect).fingerprint
    for keys, is_same in ((config(), True), (config(new_head=False), False)):
        now = identify(keys, 0, {}, {}, STAGE.without_effect, STAGE.neutral)
        assert (now.fingerprint == fingerprint) == is_same


def test_kept_features_are_removed(finished):
    assert not list(network_folder(finished.workdir, "c2am").glob("features.*"))


def test_a_training_that_was_cut_off_ends_with_the_same_maps(finished, surroundings, tmp_path, monkeypatch):
    context, save, saved = surroundings._replace(workdir=tmp_path), loop.save, []

    def fail_after_two(checkpoints, state):
        save(checkpoints, state)
        saved.append(int(state.step))
        if len(saved) == 2:
            checkpoints.wait_until_finished()  # its thread would still write during the next run
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save", fail_after_two)
    with pytest.raises(KeyboardInterrupt):
        run(config(), context)
    assert features_file(tmp_path, "c2am").exists()
    monkeypatch.undo()
    run(config(), context)
    for split in context.dataset.splits:
        mine, whole = (np.load(foreground_file(c.workdir, split)) for c in (context, finished))
        np.testing.assert_array_equal(mine, whole)


def test_many_maps_stay_in_files(finished, monkeypatch):
    monkeypatch.setattr(arrays, "IN_MEMORY", 0)
    monkeypatch.setattr(c2am_maps, "AT_ONCE", 10)
    for split, heat in c2am_maps.heat_maps(config().c2am, 8, finished):
        assert isinstance(heat.base, np.memmap)
        np.testing.assert_array_equal(heat.astype(np.float16), np.load(heat_file(finished.workdir, split)))


def test_maps_that_are_written_are_not_computed_again(finished, monkeypatch):
    monkeypatch.setattr(c2am_maps, "predict_photos", None)
    monkeypatch.setattr(feature_training, "keep_features", None)
    run(config(), finished)


def test_another_process_than_the_first_keeps_no_maps(finished, monkeypatch):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    for name in ("read_array", "scratch"):
        monkeypatch.setattr(c2am_maps, name, None)
    monkeypatch.setattr(feature_training, "keep_features", None)
    found = dict(c2am_maps.heat_maps(config().c2am, 8, finished))
    assert found == {"train": None, "test": None}


def boxes_of(foreground, changes, context, monkeypatch):
    """The boxes of training photos, where the network's maps are these, of every split as many as it has photos."""
    splits = context.dataset.splits
    monkeypatch.setattr(c2am_maps, "_train", lambda *_: None)
    monkeypatch.setattr(c2am_maps, "load_variables", lambda _: {})
    monkeypatch.setattr(c2am_maps, "_foreground", lambda method, variables, split, *_: foreground[: len(splits[split])])
    run(config(**changes), context)
    return read_predictions(pseudo_boxes_file(context.workdir, "train"), splits["train"])


def test_a_training_without_any_object_is_reported_and_flagged(surroundings, tmp_path, monkeypatch, caplog):
    context = surroundings._replace(workdir=tmp_path)
    boxes = boxes_of(np.full((24, 4, 4), 0.9, np.float32), {}, context, monkeypatch)
    assert "C2AM: no object in 24 of the 24 photos of train" in caplog.text
    assert boxes.fallback.all()
    np.testing.assert_array_equal(boxes.box, np.tile([0, 0, 1, 1], (24, 1)))


@pytest.mark.parametrize("threshold, low", [(0.5, 0.8), (0.3, 0.4)])
def test_photos_that_are_object_everywhere_are_reported_and_flagged(
    threshold, low, surroundings, tmp_path, monkeypatch, caplog
):
    foreground = np.zeros((24, 4, 4), np.float32)
    foreground[:, 1:3, 1:3] = 0.9
    foreground[:9] = np.random.default_rng(0).uniform(low, low + 0.08, (9, 4, 4))
    context = surroundings._replace(workdir=tmp_path)
    boxes = boxes_of(foreground, {"threshold": threshold}, context, monkeypatch)
    assert "C2AM: no object in 9 of the 24 photos of train" in caplog.text
    assert "C2AM: no object in 4 of the 4 photos of test" in caplog.text
    np.testing.assert_array_equal(boxes.fallback, np.arange(24) < 9)
    np.testing.assert_array_equal(boxes.box[:9], np.tile([0, 0, 1, 1], (9, 1)))
    assert (boxes.score[:9] == 0).all() and (boxes.score[9:] > 0).all()


def test_c2am_is_one_view_of_several(finished, surroundings, tmp_path):
    (tmp_path / "pseudo_boxes").mkdir()
    network_folder(tmp_path, "c2am").symlink_to(network_folder(finished.workdir, "c2am"))
    keys = config().unlock()
    keys.source, keys.views = "ddt", ConfigDict({"ddt": {}, "contrast": {"source": "c2am"}})
    run(keys.lock(), surroundings._replace(workdir=tmp_path))
    fused = np.load(heat_file(tmp_path, "train")).astype(np.float32)
    labels = np.array([record.label for record in finished.dataset.splits["train"]])
    ddt = np.zeros((24, 2, 2), np.float32)
    for label, file in enumerate(sorted((tmp_path / "pseudo_boxes" / "ddt" / "ddt").glob("*.npz"))):
        ddt[labels == label] = np.load(file)["heat"]
    contrast = np.load(heat_file(finished.workdir, "train")).astype(np.float32)
    np.testing.assert_allclose(fused, fuse([ddt, contrast]), atol=2e-2)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch_size": 1}, r"c2am\.batch_size is 1; expected 2 or more"),
        ({"threshold": 1.5}, r"c2am\.threshold is 1\.5; expected a number from 0 to 1"),
    ],
)
def test_values_that_are_never_valid(changes, message):
    keys = config().unlock()
    keys.c2am.update(changes)
    with pytest.raises(InputError, match=message):
        check_keys(keys, 1)


def test_two_views_of_c2am_are_refused():
    keys = config().unlock()
    keys.source, keys.views = "ddt", ConfigDict({"a": {"source": "c2am"}, "b": {"source": "c2am"}})
    with pytest.raises(InputError, match="views: a and b are from c2am; expected one at most"):
        check_keys(keys, 1)


@pytest.mark.parametrize(
    "layers, message",
    [
        ("layer4,layer9", r"pseudo\.c2am\.layers has 'layer9'; resnet50 has conv1, layer1"),
        ("layer4,layer2", r"maps differ in size \(layer4 4 x 4, layer2 8 x 8\)"),
    ],
)
def test_stages_that_cannot_be_joined_are_named(layers, message, surroundings):
    with pytest.raises(InputError, match=message):
        check(config(layers=layers), surroundings)
