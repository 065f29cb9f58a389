"""Models of runs: the numbers of their predictions, for photos of every kind."""

import json
import logging
import shutil

import experiments
import jax
import numpy as np
import pytest
import small
from PIL import Image

import wsol_jax
from wsol_jax.errors import InputError
from wsol_jax.predictions.table import read_predictions
from wsol_jax.pseudo.regions import scored_box
from wsol_jax.weights.pretrained import save_weights

CLOSE = {"rtol": 0, "atol": 1e-5}


def written(workdir, records):
    return read_predictions(workdir / "predictions" / "test.parquet", records)


def assert_as_written(predictions, workdir, records, names):
    """Boxes, scores and classes are those that the run wrote."""
    table = written(workdir, records)
    for i, (one, record) in enumerate(zip(predictions, records, strict=True)):
        assert one.size == record.size and one.boxes.shape == (1, 4)
        np.testing.assert_allclose(one.boxes[0] / np.tile(one.size, 2), table.box[i], **CLOSE)
        if table.score is not None:
            np.testing.assert_allclose(one.scores, table.score[i], **CLOSE)
        assert [name for name, _ in one.top5] == [names[c] for c in table.top5_class[i]]
        np.testing.assert_allclose([p for _, p in one.top5], table.top5_prob[i], **CLOSE)
        assert (one.label, one.label_score) == one.top5[0]


def test_separate_networks(sep, scenes):
    records, photos = scenes
    model = wsol_jax.load(sep)
    names = json.loads((sep / "classes.json").read_text())
    assert list(model.classes) == names and len(names) == 3
    assert_as_written(model.predict(photos), sep, records, names)
    assert_as_written(model.predict(photos, batch_size=8)[:3], sep, records[:3], names)
    one = model.predict(photos[4])
    assert_as_written([one], sep, records[4:5], names)
    assert 0 < one.scores[0] < 1 and one.heat_map is None and one.activation is None


def test_a_joint_network_passes_once(joint, scenes):
    records, photos = scenes
    model = wsol_jax.load(joint)
    assert model.networks["boxes"] is model.networks["classes"] and len(model.views()) == 1
    predictions = model.predict(photos)
    assert_as_written(predictions, joint, records, model.classes)
    assert all(np.isnan(one.scores).all() for one in predictions)  # the run has no confidences


def test_score_maps_of_given_classes(maps, scenes):
    records, photos = scenes
    model = wsol_jax.load(maps)
    assert model.title == "DA-WSOL"
    predictions = model.predict(photos, labels=[record.label for record in records])
    assert_as_written(predictions, maps, records, model.classes)
    raw = np.load(maps / "predictions" / "test.maps.npy")
    np.testing.assert_allclose([one.activation for one in predictions], raw, **CLOSE)
    heat = predictions[0].heat_map
    assert heat.shape == photos[0].shape[:2] and (heat.min(), heat.max()) == (0, 1)


def test_score_maps_of_the_most_probable_class(maps, scenes):
    model, photos = wsol_jax.load(maps), scenes[1]
    free = model.predict(photos)
    named = model.predict(photos, labels=[one.label for one in free])
    other = model.predict(photos[0], labels=next(name for name in model.classes if name != free[0].label))
    for a, b in zip(free, named, strict=True):
        np.testing.assert_array_equal(a.activation, b.activation)
    assert not np.allclose(other.activation, free[0].activation) and other.label == free[0].label
    region = scored_box(free[0].activation, 0.2)
    np.testing.assert_allclose(free[0].boxes[0], region.box * 64)
    with pytest.raises(InputError, match="labels: there is no class 'x'; expected one of 3 names, or a number"):
        model.predict(photos[0], labels="x")
    with pytest.raises(InputError, match="labels: 1 for 6 photos; expected one for each"):
        model.predict(photos, labels=[0])
    with pytest.raises(InputError, match="test_geometry is 'center_crop'; expected 'resize'"):
        wsol_jax.load(maps, geometry="center_crop")


def test_grad_cam_of_another_run(sep, scenes, tmp_path):
    records, photos = scenes
    keys = {"stages": "predict", "predict.grad_cam_from": str(sep), "predict.test_geometry": "resize"}
    wsol_jax.run(experiments.tiny(**keys), tmp_path)
    model = wsol_jax.load(tmp_path)
    assert model.title == "Grad-CAM"
    assert_as_written(model.predict(photos, labels=[r.label for r in records]), tmp_path, records, model.classes)


def test_photos_of_every_kind(sep, scenes, tmp_path, caplog):
    photo = scenes[1][0][:, :40]
    Image.fromarray(photo).save(tmp_path / "a.png")
    Image.fromarray(photo[:, ::-1]).save(tmp_path / "mirrored.png", exif=exif(2))
    (tmp_path / "b.jpg").write_text("no photo")
    model = wsol_jax.load(sep)
    kinds = [photo, Image.fromarray(photo), tmp_path / "a.png", str(tmp_path / "a.png"), tmp_path / "mirrored.png"]
    with caplog.at_level(logging.WARNING):
        *good, bad = model.predict([*kinds, tmp_path / "b.jpg"])
    assert "1 of 6 photos cannot be read; the first: " in caplog.text
    for one in good:
        assert one.size == (40, 64) and not one.error
        np.testing.assert_allclose(one.boxes, good[0].boxes)
    assert bad.boxes.shape == (0, 4) and "b.jpg: not a readable photo" in bad.error and bad.label is None
    with pytest.raises(InputError, match=r"b\.jpg: not a readable photo"):
        model.predict(tmp_path / "b.jpg")
    with pytest.raises(InputError, match=r"photo 0 is float64 \[4, 4, 3\]; expected a path, a PIL image or a uint8"):
        model.predict(np.zeros((4, 4, 3)))
    assert model.predict([]) == []
    with pytest.raises(InputError, match="batch_size is 0; expected a positive number"):
        model.predict([photo], batch_size=0)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def test_a_picture(maps, scenes):
    model, photo = wsol_jax.load(maps), scenes[1][0]
    picture = model.draw(photo)
    assert picture.size == photo.shape[1::-1] and picture.mode == "RGB"
    assert (np.asarray(picture) != photo).any()


def test_runs_of_older_versions_have_their_classes_in_coco(sep, tmp_path):
    shutil.copytree(sep, tmp_path / "w")
    (tmp_path / "w" / "classes.json").unlink()
    assert wsol_jax.load(tmp_path / "w").classes == wsol_jax.load(sep).classes


def test_a_folder_without_a_finished_network(sep, tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder; expected the workdir of a run"):
        wsol_jax.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no config\.json; expected the workdir of a run"):
        wsol_jax.load(tmp_path)
    shutil.copytree(sep, tmp_path / "w")
    for stage in ("localizer", "classifier"):
        file = tmp_path / "w" / "stages" / f"{stage}.json"
        file.write_text(file.read_text().replace('"finished": true', '"finished": false'))
    with pytest.raises(InputError, match="w has no finished localizer, classifier, joint, train; expected") as error:
        wsol_jax.load(tmp_path / "w")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"expects the workdir of a run, or arch=\.\.\. and weights=\.\.\."):
        wsol_jax.load()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A classifier of seven classes as a weight file."""
    file = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    network = small.network("resnet50", 7)
    save_weights(small.variables(network), file)
    return file


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
def test_pretrained_weights_as_they_are(method, weights, scenes):
    options = {"arch_kwargs": small.NARROW["resnet50"], "size": 64}
    model = wsol_jax.load(arch="resnet50", weights=str(weights), method=method, classes=list("abcdefg"), **options)
    one = model.predict(scenes[1][0])
    network = small.network("resnet50", 7)
    image = (scenes[1][0].astype(np.float32) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    logits = small.run(network, small.variables(network), image[None].astype(np.float32)).head[0]
    probability = np.asarray(jax.nn.softmax(logits))
    assert one.label == "abcdefg"[probability.argmax()]
    np.testing.assert_allclose(one.label_score, probability.max(), rtol=1e-4)
    assert one.activation.shape == (2, 2) and one.boxes.shape == (1, 4)


def test_weights_that_do_not_fit(weights):
    with pytest.raises(InputError, match="arch='alexnet' is no backbone"):
        wsol_jax.load(arch="alexnet", weights=str(weights))
    with pytest.raises(InputError, match=r"classes: 2 names, but .* has 7 classes; expected as many"):
        wsol_jax.load(arch="resnet50", weights=str(weights), classes=["a", "b"])
    with pytest.raises(InputError, match="method is 'acol'; expected 'cam' or 'grad_cam'"):
        wsol_jax.load(arch="resnet50", weights=str(weights), method="acol")
    with pytest.raises(InputError, match=r"has no layer classifier\.6; expected the weights of a vgg16"):
        wsol_jax.load(arch="vgg16", weights=str(weights))


def test_labels_that_choose_no_map(sep, maps, scenes):
    photo = scenes[1][0]
    for label in (0, "rings", 2.7):
        with pytest.raises(InputError, match="labels choose the class of a score map, and this model has none"):
            wsol_jax.load(sep).predict(photo, labels=label)
    for label in (2.7, True, 3, -1, [0]):
        with pytest.raises(InputError, match=r"labels: there is no class .*; expected one of 3 names, or a number"):
            wsol_jax.load(maps).predict(photo, labels=label)


def test_two_batches_are_computed_while_the_next_is_read(joint, scenes, monkeypatch):
    photos, events = scenes[1], []
    model = wsol_jax.load(joint)
    rows = jax.device_count()
    begin, finish = model._compute, model._finish
    monkeypatch.setattr(model, "_compute", lambda *given: events.append("begun") or begin(*given))
    monkeypatch.setattr(model, "_finish", lambda *given: events.append("finished") or finish(*given))
    predictions = list(model.stream([*photos, *photos] * rows, rows))
    batches = 2 * len(photos)
    assert events == ["begun"] * 3 + ["finished", "begun"] * (batches - 3) + ["finished"] * 3
    for one, expected in zip(predictions, model.predict(photos) * 2 * rows, strict=True):
        np.testing.assert_allclose(one.boxes, expected.boxes, **CLOSE)
