import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from ml_collections import ConfigDict

from configs.base import get_config
from wsol_jax import boxes, devices, processes
from wsol_jax.backbones import trunk
from wsol_jax.data import load_dataset
from wsol_jax.data.records import NO_BOXES, Dataset, Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.direct_boxes import compute, measure
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions
from wsol_jax.pseudo.heat_maps import read_direction
from wsol_jax.stages import heat_views, pseudo_boxes
from wsol_jax.stages.context import Context
from wsol_jax.stages.pseudo_boxes import _report_classes, check_keys, run
from wsol_jax.stages.workdir import heat_file, pseudo_boxes_file

WITHOUT_BOX = "classes with whole images alone as pseudo boxes:"


def tiny_config(**changes) -> ConfigDict:
    config = get_config().pseudo.unlock()
    config.update(arch="vgg_gap", weights="", size=64, layer="relu3_1", batch_size=4)
    config.arch_kwargs = {"widths": (8, 8, 16, 16, 16), "depths": (1, 1, 1, 1, 1)}
    config.update(changes)
    return config.lock()


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    config = get_config().data
    config.scenes.update(classes=3, train=14, test=5, size=64)
    return load_dataset(config, 0)


def make_pseudo_boxes(config, seed, dataset, workdir, mesh):
    run(config, Context(workdir, dataset, seed, mesh, {}))


@pytest.fixture(scope="module")
def mesh():
    return devices.make_mesh(jax.devices()[:1])


def test_ddt_writes_boxes_statistics_and_heat_maps(scenes, mesh, tmp_path):
    make_pseudo_boxes(tiny_config(), 0, scenes, tmp_path, mesh)
    for split, records in scenes.splits.items():
        table = pq.read_table(pseudo_boxes_file(tmp_path, split))
        assert table.column_names == ["image", "label", "x0", "y0", "x1", "y1", "score", "fallback"]
        assert table["image"].to_pylist() == [r.path for r in records]
        found = read_predictions(pseudo_boxes_file(tmp_path, split), records)
        assert (boxes.area(found.box) > 0).all()
        np.testing.assert_allclose(found.box * 16, np.round(found.box * 16), atol=1e-9)
        assert np.load(heat_file(tmp_path, split)).shape == (len(records), 16, 16)
    files = sorted((tmp_path / "pseudo_boxes" / "ddt").iterdir())
    assert [f.name[:4] for f in files] == ["0000", "0001", "0002"]
    direction = read_direction(files[0])
    assert direction.images == 5
    assert direction.sign == "max_projection"
    assert 0 < direction.explained <= 1


def test_the_room_for_features_changes_no_byte(scenes, mesh, tmp_path):
    """So that `max_bytes` is not part of the fingerprint."""
    for name, room in (("kept", 2**30), ("twice", 0)):
        make_pseudo_boxes(tiny_config(max_bytes=room), 0, scenes, tmp_path / name, mesh)
    files = [path.relative_to(tmp_path / "kept") for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert len(files) == 9
    for file in files:
        assert (tmp_path / "kept" / file).read_bytes() == (tmp_path / "twice" / file).read_bytes(), file


def test_one_direction_for_all_needs_no_labels(scenes, mesh, tmp_path):
    make_pseudo_boxes(tiny_config(group="dataset"), 0, scenes, tmp_path, mesh)
    assert [f.name for f in (tmp_path / "pseudo_boxes" / "ddt").iterdir()] == ["0000_dataset.npz"]
    assert read_direction(tmp_path / "pseudo_boxes" / "ddt" / "0000_dataset.npz").images == 14


def test_a_stage_that_was_cut_off_goes_on_from_the_next_class(scenes, mesh, tmp_path):
    make_pseudo_boxes(tiny_config(), 0, scenes, tmp_path / "whole", mesh)
    make_pseudo_boxes(tiny_config(), 0, scenes, tmp_path / "cut", mesh)
    first, second, _ = sorted((tmp_path / "cut" / "pseudo_boxes" / "ddt").iterdir())
    second.unlink()
    before = first.stat().st_mtime_ns
    make_pseudo_boxes(tiny_config(), 0, scenes, tmp_path / "cut", mesh)
    assert first.stat().st_mtime_ns == before
    for name in ("boxes.parquet", "boxes_test.parquet"):
        assert pq.read_table(tmp_path / "cut" / "pseudo_boxes" / name).equals(
            pq.read_table(tmp_path / "whole" / "pseudo_boxes" / name)
        )


@pytest.mark.parametrize("views", [{}, {"a": {}, "b": {"size": 96}}])
def test_another_process_than_the_first_cuts_no_boxes(views, scenes, mesh, tmp_path, monkeypatch):
    config = tiny_config(views=ConfigDict(views))
    make_pseudo_boxes(config, 0, scenes, tmp_path, mesh)
    for file in [*tmp_path.rglob("boxes*.parquet"), *tmp_path.rglob("heat*.npy"), *tmp_path.rglob("0001_*.npz")]:
        file.unlink()
    left = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(processes, "is_first", lambda: False)
    monkeypatch.setattr(pseudo_boxes, "cut_boxes", None)
    monkeypatch.setattr(heat_views, "fuse", None)
    make_pseudo_boxes(config, 0, scenes, tmp_path, mesh)
    assert sorted(tmp_path.rglob("*")) == left


def test_another_process_than_the_first_waits_for_the_boxes_of_each_splits_score_maps(
    scenes, mesh, tmp_path, monkeypatch
):
    order = []
    for name in ("_check", "_score_maps"):
        monkeypatch.setattr(pseudo_boxes, name, lambda *_: None)
    monkeypatch.setattr(pseudo_boxes, "predict_split", lambda _, split, *__, **___: order.append(split))
    monkeypatch.setattr(processes, "wait_for_first", lambda: order.append("wait"))
    make_pseudo_boxes(tiny_config(source="cam", cam_from="W"), 0, scenes, tmp_path, mesh)
    assert order == ["train", "wait", "test", "wait"] and not list(tmp_path.iterdir())


def test_a_class_with_one_photo_gets_the_whole_image_flagged(scenes, mesh, tmp_path, caplog):
    train = [r for r in scenes.splits["train"] if r.label != 1] + [scenes.splits["train"][1]]
    alone = scenes._replace(splits=scenes.splits | {"train": train})
    make_pseudo_boxes(tiny_config(), 0, alone, tmp_path, mesh)
    found = read_predictions(pseudo_boxes_file(tmp_path, "train"), train)
    np.testing.assert_array_equal(found.fallback, [r.label == 1 for r in train])
    np.testing.assert_array_equal(found.box[-1], [0, 0, 1, 1])
    of_test = read_predictions(pseudo_boxes_file(tmp_path, "test"), scenes.splits["test"])
    np.testing.assert_array_equal(of_test.fallback, [r.label == 1 for r in scenes.splits["test"]])
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == f"{WITHOUT_BOX} 1 of 3, {scenes.classes[1]}"


def test_many_classes_without_a_box_are_counted(caplog):
    records = [Record(f"{i}.jpg", i % 13, (9, 9), NO_BOXES) for i in range(26)]
    has_box = np.arange(26) == 14  # one of the two photos of class 1
    _report_classes(records, Predictions(np.zeros((26, 4)), fallback=~has_box), [f"c{i}" for i in range(13)])
    assert f"{WITHOUT_BOX} 12 of 13, c0, c2, c3, c4, c5, c6, c7, c8, c9, c10, ..." in caplog.text


def test_the_truth_is_the_supervised_ceiling(scenes, mesh, tmp_path):
    make_pseudo_boxes(tiny_config(source="truth"), 0, scenes, tmp_path, mesh)
    found = read_predictions(pseudo_boxes_file(tmp_path, "test"), scenes.splits["test"])
    assert compute(measure(scenes.splits["test"], found))["gt_known_loc"] == 100


def test_the_truth_must_be_there(scenes, mesh, tmp_path):
    unknown = [r._replace(boxes=NO_BOXES) for r in scenes.splits["train"]]
    with pytest.raises(InputError, match=r"pseudo\.source is 'truth' but scenes/train/.* has no true box"):
        make_pseudo_boxes(tiny_config(source="truth"), 0, scenes._replace(splits={"train": unknown}), tmp_path, mesh)


def test_boxes_come_from_a_file(scenes, mesh, tmp_path):
    make_pseudo_boxes(tiny_config(source="truth"), 0, scenes, tmp_path / "a", mesh)
    source = str(pseudo_boxes_file(tmp_path / "a", "train"))
    make_pseudo_boxes(tiny_config(source=source), 0, scenes, tmp_path / "b", mesh)
    a, b = (read_predictions(pseudo_boxes_file(tmp_path / f, "train"), scenes.splits["train"]) for f in "ab")
    np.testing.assert_allclose(a.box, b.box)


@pytest.mark.parametrize("source", ["truth", "ddt", "c2am", "boxes.parquet"])
def test_a_drawing_without_a_run_of_score_maps_is_refused(source):
    with pytest.raises(InputError, match=r"cam_maps is 'bagcam'; expected 'cam' unless cam_from names a run"):
        check_keys(tiny_config(source=source, cam_maps="bagcam"), 1)
    check_keys(tiny_config(source="cam", cam_from="W", cam_maps="bagcam"), 1)


def test_a_layer_that_is_not_there_is_named(scenes, mesh, tmp_path):
    with pytest.raises(InputError, match=r"pseudo\.layer is 'pool9'; vgg_gap has relu1_1"):
        make_pseudo_boxes(tiny_config(layer="pool9"), 0, scenes, tmp_path, mesh)


@pytest.mark.long
@pytest.mark.real
def test_real_birds(shared, mesh, tmp_path):
    """Two classes of six birds, VGG16 at 448: nearly all boxes hold their bird, as in the paper (84.55 on CUB)."""
    config = get_config()
    config.data.name, config.data.dir = "cub", str(shared / "data" / "birds25" / "CUB_200_2011")
    birds = load_dataset(config.data, 0)
    few = [r for c in (0, 16) for r in [r for r in birds.splits["train"] if r.label == c][:6]]
    with config.pseudo.unlocked():
        config.pseudo.batch_size = 6
    make_pseudo_boxes(config.pseudo, 0, birds._replace(splits={"train": few}), tmp_path, mesh)
    found = read_predictions(pseudo_boxes_file(tmp_path, "train"), few)
    assert not found.fallback.any()
    assert (found.score > 0).all()
    assert compute(measure(few, found))["gt_known_loc"] >= 75


@pytest.mark.long
@pytest.mark.parametrize(
    "arch, cells", [("vgg16", 14), ("resnet50", 14), ("densenet161", 14), ("inception_v3", 12), ("efficientnet_b7", 14)]
)
def test_the_last_map_of_a_network_has_a_grid_of_its_own(arch, cells):
    network, photo = trunk(arch), jax.ShapeDtypeStruct((1, 448, 448, 3), np.float32)
    maps = jax.eval_shape(lambda photo: network.init_with_output(jax.random.key(0), photo, False)[0], photo)
    assert maps[list(network.stages)[-1]].shape[1:3] == (cells, cells)


@pytest.mark.long
@pytest.mark.parametrize("arch, kwargs, cells", [("inception_v3", {"width": 2}, 2), ("resnet50", {"width": 4}, 4)])
def test_any_network_finds_boxes_on_its_last_map(arch, kwargs, cells, scenes, mesh, tmp_path):
    config = tiny_config(arch=arch, layer="", size=128)
    with config.unlocked():
        config.arch_kwargs = kwargs
    make_pseudo_boxes(config, 0, scenes, tmp_path, mesh)
    found = read_predictions(pseudo_boxes_file(tmp_path, "train"), scenes.splits["train"]).box
    np.testing.assert_allclose(found * cells, np.round(found * cells), atol=1e-9)
    assert np.load(heat_file(tmp_path, "test")).shape == (5, cells, cells)
