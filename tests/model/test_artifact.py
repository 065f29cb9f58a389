"""Exported models: the numbers of the run, for any number of photos, with jax and numpy alone."""

import json
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import small
import tiny
from jax import export as jax_export

import wsol_jax
from wsol_jax.backbones import convolutions, initialise
from wsol_jax.backbones.initialise import shapes
from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.methods.cam import of_network
from wsol_jax.methods.drawings import DRAWINGS, Drawing, drawn
from wsol_jax.model.export import batch_of
from wsol_jax.model.model import View
from wsol_jax.predictions.table import read_predictions
from wsol_jax.stages.networks import make_method

CLOSE = {"rtol": 0, "atol": 1e-5}
ALONE = """
import runpy, sys
class Nothing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("wsol_jax", "flax", "orbax", "tensorflow", "PIL", "scipy.special"):
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def inputs(photos, description):
    """The photos as the artifact takes them: these are square, and whole windows keep them as they are."""
    (name, view), *others = description["inputs"].items()
    assert not others and view["size"] == 64
    left, top, right, bottom = (round(64 * side) for side in view["window"])
    cut = [photo[top:bottom, left:right] for photo in photos]
    resized = [np.asarray(jax_free_resize(one)) for one in cut]
    return {name: np.stack(resized)}


def jax_free_resize(pixels):
    from PIL import Image

    return Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)


def exported(workdir, place, **options):
    wsol_jax.load(workdir, geometry="resize").export(place / "m.bin", **options)
    description = json.loads((place / "m.bin.json").read_text())
    return jax_export.deserialize(bytearray((place / "m.bin").read_bytes())), description


@pytest.mark.long
def test_score_maps_for_any_number_of_photos(maps, scenes, tmp_path):
    _, photos = scenes
    artifact, description = exported(maps, tmp_path)
    assert artifact.platforms == ("cpu", "cuda", "tpu") == tuple(description["platforms"])
    assert description["classes"] == list(wsol_jax.load(maps).classes) and description["method"] == "DA-WSOL"
    images, outputs = inputs(photos, description), {}
    for count in (len(photos), 1):
        outputs = artifact.call({name: image[:count] for name, image in images.items()})
        np.testing.assert_allclose(outputs["logits"], np.load(logits(maps))[:count], **CLOSE)
    (one,) = wsol_jax.load(maps).predict(photos[:1])
    np.testing.assert_allclose(outputs["map"][0], one.activation, **CLOSE)


def logits(workdir):
    return workdir / "predictions" / "test.logits.npy"


@pytest.mark.long
def test_boxes_in_the_frame_of_the_photo(sep, scenes, tmp_path):
    records, photos = scenes
    wsol_jax.load(sep).export(tmp_path / "m.bin", platforms=["cpu"])
    description = json.loads((tmp_path / "m.bin.json").read_text())
    artifact = jax_export.deserialize(bytearray((tmp_path / "m.bin").read_bytes()))
    model = wsol_jax.load(sep)
    (view,) = model.views()
    cuts = np.stack([model._cut(photo, 0).views[view] for photo in photos])
    outputs = artifact.call({name: cuts for name in description["inputs"]})
    table = read_predictions(sep / "predictions" / "test.parquet", records)
    np.testing.assert_allclose(outputs["box"], table.box, **CLOSE)
    np.testing.assert_allclose(outputs["logits"], np.load(logits(sep)), **CLOSE)
    assert description["outputs"] == {"box": ["b", "4"], "logits": ["b", "3"], "mirror_iou": ["b"]}


@pytest.mark.long
def test_boxes_of_masks(masks, scenes, tmp_path):
    records, photos = scenes
    model = wsol_jax.load(masks)
    table = read_predictions(masks / "predictions" / "test.parquet", records)
    predictions = model.predict(photos)
    np.testing.assert_allclose([one.boxes[0] / tiny.SIZE for one in predictions], table.box, **CLOSE)
    np.testing.assert_allclose([one.scores[0] for one in predictions], table.score, **CLOSE)
    assert (table.score >= 0).all() and (table.score < 1).all()
    model.export(tmp_path / "m.bin", platforms=["cpu"])
    artifact = jax_export.deserialize(bytearray((tmp_path / "m.bin").read_bytes()))
    (view,) = model.views()
    outputs = artifact.call({"image": np.stack([model._cut(photo, 0).views[view] for photo in photos])})
    np.testing.assert_allclose(outputs["box"], table.box, **CLOSE)
    assert set(outputs) == {"box", "mask"} and outputs["mask"].shape == (len(photos), 2, 2)
    np.testing.assert_allclose(outputs["mask"], [one.activation for one in predictions], **CLOSE)
    assert predictions[0].heat_map.shape == photos[0].shape[:2]


def run_alone(place, *arguments):
    example = shutil.copy(tiny.ROOT / "docs" / "load_export.py", place)
    command = [sys.executable, "-c", ALONE, example, *map(str, arguments)]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def test_the_example_needs_jax_and_numpy_alone(maps, scenes, tmp_path):
    _, photos = scenes
    wsol_jax.load(maps).export(tmp_path / "m.bin", platforms=["cpu"])
    np.savez(tmp_path / "p.npz", **inputs(photos, json.loads((tmp_path / "m.bin.json").read_text())))
    done = run_alone(tmp_path, "m.bin", "p.npz")
    assert (done.returncode, done.stderr) == (0, "")
    predictions = wsol_jax.load(maps).predict(photos)
    assert done.stdout.splitlines() == [f"{i} {one.label}" for i, one in enumerate(predictions)]
    with np.load(tmp_path / "m.outputs.npz") as outputs:
        np.testing.assert_allclose(outputs["logits"], np.load(logits(maps)), **CLOSE)


def test_an_export_for_another_platform(maps, tmp_path):
    model = wsol_jax.load(maps)
    with pytest.raises(InputError, match="platforms: 'abacus'; expected some of cpu, cuda, tpu, rocm"):
        model.export(tmp_path / "m.bin", platforms=["abacus"])
    model.export(tmp_path / "m.bin", platforms=["tpu"])
    np.savez(tmp_path / "p.npz", image=np.zeros((1, 64, 64, 3), np.uint8))
    done = run_alone(tmp_path, "m.bin", "p.npz")
    assert (done.returncode, done.stderr) == (2, "error: m.bin is for tpu; this machine has cpu\n")


def predict_with(method, side):
    """The prediction of whole photos, as an artifact makes it."""
    view = View((0.0, 0.0, 1.0, 1.0), side)
    return lambda variables, image: method.predict(variables, batch_of(image, view), None)


def symbolic(side, dtype):
    (batch,) = jax_export.symbolic_shape("b")
    return batch, jax.ShapeDtypeStruct((batch, side, side, 3), dtype)


@pytest.mark.long
@pytest.mark.parametrize("arch", small.NARROW)
def test_every_backbone_takes_any_number_of_photos(arch):
    network = small.network(arch)
    batch, image = symbolic(small.side(arch), "float32")
    variables = shapes(network, (1, 112, 112, 3))
    outputs = jax.eval_shape(lambda variables, image: network.apply(variables, image, False), variables, image)
    assert outputs.head.shape == (batch, 3)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_takes_any_number_of_photos(name):
    method = make_method("train", tiny.config("train", method=name), tiny.CLASSES)
    variables = {"params": {}, "batch_stats": {}} | shapes(method.module, (1, tiny.SIZE, tiny.SIZE, 3))
    batch, image = symbolic(tiny.SIZE, "uint8")
    prediction = jax.eval_shape(predict_with(method, tiny.SIZE), variables, image)
    assert prediction.logits.shape == (batch, tiny.CLASSES) and prediction.map.shape[0] == batch


@pytest.mark.parametrize("maps", small.first_alone([*DRAWINGS][1:]))
def test_an_export_of_a_drawing_at_an_inner_stage(maps):
    method = make_method("train", tiny.config("train"), tiny.CLASSES, Drawing(maps, "layer3"))
    variables = initialise(jax.random.key(0), method.module, (1, tiny.SIZE, tiny.SIZE, 3))

    @jax.jit
    def draw(variables, image):
        return predict_with(method, tiny.SIZE)(variables, image).map

    exported = jax_export.export(draw, platforms=("cpu", "tpu"))(variables, symbolic(tiny.SIZE, "uint8")[1])
    artifact = jax_export.deserialize(exported.serialize())
    photos = np.random.default_rng(0).integers(0, 256, (3, tiny.SIZE, tiny.SIZE, 3), np.uint8)
    expected = draw(variables, photos)
    assert expected.shape == (3, 4, 4) and expected.max() > 0
    np.testing.assert_allclose(artifact.call(variables, photos), expected, rtol=1e-3, atol=1e-5 * expected.max())


@pytest.mark.long
@pytest.mark.parametrize("arch", [arch for arch in small.NARROW if arch != "convnext_tiny"])  # which has no CAM
def test_a_drawing_of_every_backbone_takes_any_number_of_photos(arch, monkeypatch):
    monkeypatch.setattr(convolutions, "FEW_CHANNELS", 0)  # wider networks have the gradients of many channels
    keys = tiny.config("train")
    method = of_network(small.network(arch), keys)
    first, side = next(iter(method.module.backbone.stages)), small.side(arch)
    variables = {"params": {}, "batch_stats": {}} | shapes(method.module, (1, 112, 112, 3))
    batch, image = symbolic(side, "uint8")
    predict = predict_with(drawn(method, keys, Drawing("bagcam", first)), side)
    assert jax.eval_shape(predict, variables, image).map.shape[0] == batch
