"""Drawings of score maps against NumPy, photo by photo and channel by channel, on a network of three stages."""

from typing import ClassVar

import flax.linen as nn
import jax
import numpy as np
import pytest
import tiny

from wsol_jax.backbones import initialise, layers
from wsol_jax.backbones.heads import Classifier, GlobalPool
from wsol_jax.backbones.initialise import shapes
from wsol_jax.backbones.network import Network
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.methods.cam import of_network
from wsol_jax.methods.drawings import DRAWINGS, Drawing, drawn
from wsol_jax.model.export import batch_of
from wsol_jax.model.model import View
from wsol_jax.stages.networks import make_method

B, SIDE, CLASSES = 2, 12, 3


class Cells(nn.Module):
    """Means of 2 x 2 pixels, then three layers on each cell."""

    stages: ClassVar[dict[str, tuple[str, ...]]] = {f"stage{i}": (f"layer{i}",) for i in (1, 2, 3)}
    added: ClassVar[tuple[str, ...]] = ()
    freeze: str = ""
    hook: layers.Hook | None = None

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        def stage(name: str, x: jax.Array, _: bool) -> jax.Array:
            x = nn.avg_pool(x, (2, 2), (2, 2)) if name == "stage1" else x
            return layers.ReLU()(nn.Dense(5, name=self.stages[name][0])(x))

        return layers.walk(self, image, train, 1, stage)


@pytest.fixture(scope="module")
def cells():
    """A method, its variables, photos with labels, and the layers' (weights, bias)."""
    method = of_network(Network(Cells(), GlobalPool(), Classifier(CLASSES, "fc")), tiny.config("train"))
    variables = initialise(jax.random.key(0), method.module, (1, SIDE, SIDE, 3))
    image = np.random.default_rng(0).integers(0, 256, (B, SIDE, SIDE, 3), np.uint8)
    rows = {name: np.zeros(B, np.int32) for name in Batch._fields}
    batch = Batch(**(rows | {"image": image, "label": np.array([2, 0], np.int32)}))
    parts = [variables["params"]["backbone"][f"layer{i}"] for i in (1, 2, 3)] + [variables["params"]["head"]["fc"]]
    return method, variables, batch, [(np.float64(part["kernel"]), np.float64(part["bias"])) for part in parts]


def forward(image: np.ndarray, weights: list) -> tuple[list[np.ndarray], np.ndarray]:
    """The maps [h, w, 5] of the stages and the logits of one prepared photo [h, w, 3]."""
    h, w, _ = image.shape
    x, maps = image.reshape(h // 2, 2, w // 2, 2, 3).mean(axis=(1, 3)), []
    for kernel, bias in weights[:3]:
        x = np.maximum(x @ kernel + bias, 0)
        maps.append(x)
    return maps, x.mean(axis=(0, 1)) @ weights[3][0] + weights[3][1]


def gradient(maps: list[np.ndarray], stage: int, slope: np.ndarray, weights: list, guided: bool) -> np.ndarray:
    """The gradient [h, w, 5] with respect to the map of a stage, of slope x logits."""
    g = np.broadcast_to(weights[3][0] @ slope / maps[2][..., 0].size, maps[2].shape)
    for i in range(2, stage, -1):
        g = (np.maximum(g, 0) if guided else g) * (maps[i] > 0) @ weights[i][0].T
    return g


def draw(name: str, image: np.ndarray, label: int, stage: int, weights: list, guided: bool) -> np.ndarray:
    """The map of a class of one photo."""
    maps, logits = forward(image, weights)
    features, own = maps[stage], np.eye(CLASSES)[label]
    heat, probability = np.zeros(features.shape[:2]), np.exp(logits) / np.exp(logits).sum()
    if name == "score_cam":
        scores = [forward(image * mask(features[..., k])[..., None], weights)[1][label] for k in range(5)]
        alpha = np.exp(scores) / np.exp(scores).sum()
        return np.maximum(features @ alpha, 0)
    g = gradient(maps, stage, own - probability if name == "bagcam" else own, weights, guided)
    for k in range(5):
        a, d = features[..., k], g[..., k]
        if name == "bagcam":
            heat += np.maximum(np.mean(d * a + 1) * d * a, 0)
        elif name == "layercam":
            heat += np.maximum(d, 0) * a
        else:
            below = 2 * d**2 + d**3 * a.sum()
            heat += (d**2 / np.where(below == 0, 1, below) * np.maximum(d, 0)).sum() * a
    return np.maximum(heat, 0)


def mask(channel: np.ndarray) -> np.ndarray:
    """A map at twice its size, bilinear with repeated edges, in 0..1."""
    padded = np.pad(channel, 1, mode="edge")
    for axis in (0, 1):
        padded = np.moveaxis(padded, axis, 0)
        low, middle, high = padded[:-2], padded[1:-1], padded[2:]
        padded = np.stack([low / 4 + middle * 3 / 4, middle * 3 / 4 + high / 4], axis=1)
        padded = np.moveaxis(padded.reshape(-1, *padded.shape[2:]), 0, axis)
    span = padded.max() - padded.min()
    return (padded - padded.min()) / span if span else padded * 0


CASES = [(name, stage, False) for name in DRAWINGS if name != "cam" for stage in (0, 2)]


@pytest.mark.parametrize("name, stage, guided", [*CASES, ("bagcam", 0, True), ("bagcam", 1, True)])
def test_a_drawing_is_its_formula(name, stage, guided, cells):
    method, variables, batch, weights = cells
    changed = drawn(method, tiny.config("train"), Drawing(name, f"stage{stage + 1}", guided))
    prediction = jax.jit(changed.predict)(variables, batch, batch.label)
    image = np.float64(method.prepare(batch.image))
    expected = [draw(name, image[i], batch.label[i], stage, weights, guided) for i in range(B)]
    assert np.max(expected) > 0
    np.testing.assert_allclose(prediction.map, expected, rtol=1e-3, atol=1e-5 * np.max(expected))
    np.testing.assert_allclose(prediction.logits, [forward(one, weights)[1] for one in image], rtol=1e-4, atol=1e-5)


def test_guiding_changes_gradients_that_pass_a_relu(cells):
    method, variables, batch, _ = cells

    def heat(stage, guided):
        changed = drawn(method, tiny.config("train"), Drawing("bagcam", stage, guided))
        return np.asarray(jax.jit(changed.predict)(variables, batch, batch.label).map)

    np.testing.assert_array_equal(heat("", True), heat("stage3", False))
    assert not np.allclose(heat("stage1", True), heat("stage1", False), rtol=1e-2)


def test_dawsol_is_drawn_and_keeps_its_sets_whatever_was_frozen():
    keys = tiny.config("train", freeze="layer3").unlock()
    keys.arch_kwargs.stride = 16
    keys.dawsol.update(use=True, samples=2)
    method = make_method("train", keys, CLASSES, Drawing("bagcam", "layer2", True))
    variables = {"batch_stats": {}} | shapes(method.module, (1, 64, 64, 3)) | {"memory": method.memory}
    batch = batch_of(np.zeros((B, 64, 64, 3), np.uint8), View((0, 0, 1, 1), 64))
    prediction = jax.eval_shape(method.predict, variables, batch)
    assert prediction.map.shape == (B, 8, 8) and prediction.assignment.shape == (B, 4, 4)


WRONG = {
    "no such stage": ("resnet50", "cam", Drawing("bagcam", "layer9"), "no stage 'layer9' .*conv1, layer1, .*layer4"),
    "two classifiers": ("vgg_gap", "acol", Drawing("layercam"), "maps is 'layercam', but the maps of acol are its own"),
    "no ReLU": ("convnext_tiny", "grad_cam", Drawing("bagcam", "", True), "at ReLUs, of which convnext_tiny has none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_drawing_that_does_not_exist(case, monkeypatch):
    arch, method, drawing, message = WRONG[case]
    monkeypatch.setitem(tiny.NARROW, "convnext_tiny", dict(widths=(4, 6, 8, 10), depths=(1, 1, 1, 1)))
    with pytest.raises(InputError, match=message) as error:
        make_method("train", tiny.config("train", arch, method=method), CLASSES, drawing)
    assert "\n" not in str(error.value)
