"""The localizer of masks: the loss of its cells, and boxes that return from the window to the photo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from wsol_jax.data.render import Batch
from wsol_jax.methods.localizer import features_of, on_features
from wsol_jax.methods.mask_boxes import GRID, mask_boxes
from wsol_jax.methods.method import Outputs

COUNT = 3


@pytest.fixture(scope="module")
def experiment():
    return tiny.experiment(arch="efficientnet_lite0", head="mask", freeze="conv_head")


def batch_of(target, window=(0, 0, 1, 1), flip=False):
    image = np.random.default_rng(0).integers(0, 256, (COUNT, tiny.SIZE, tiny.SIZE, 3), np.uint8)
    zeros = np.zeros(COUNT, np.int32)
    return Batch(image, np.tile(np.float32(window), (COUNT, 1)), np.full(COUNT, flip), zeros, target, zeros, zeros == 0)


def test_the_loss_is_the_cross_entropy_of_the_cells_with_the_mean_of_the_mask_in_each(experiment):
    rng = np.random.default_rng(1)
    cells, logits = rng.random((COUNT, 4, 4), np.float32), rng.normal(size=(COUNT, 4, 4, 1)).astype(np.float32)
    target = np.kron(cells, np.ones((1, GRID // 4, GRID // 4), np.float32))

    def loss(logits):
        outputs = Outputs({}, {}, {"mask": logits})
        return experiment.method.objective(outputs, None, batch_of(target), (), jax.random.key(0), jnp.zeros(()))

    probability = 1 / (1 + np.exp(-logits[..., 0]))
    expected = -(cells * np.log(probability) + (1 - cells) * np.log(1 - probability)).mean()
    value, memory, logs = loss(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert memory == ()
    np.testing.assert_allclose(logs["cells"], ((probability > 0.5) == (cells > 0.5)).mean(), rtol=1e-6)
    gradient = jax.grad(lambda z: loss(z)[0])(logits)[..., 0]
    np.testing.assert_allclose(gradient, (probability - cells) / probability.size, atol=1e-6)


def test_boxes_return_from_window_and_mirror_to_the_photo(experiment):
    method, variables = experiment.method, experiment.variables
    target = np.zeros((COUNT, GRID, GRID), np.float32)
    seen = batch_of(target)
    outputs, _ = method.network(variables, method.prepare(seen.image), None, None, False)
    logits = outputs.maps["mask"][..., 0]
    cut = mask_boxes(logits)
    prediction = method.predict(variables, seen)
    np.testing.assert_allclose(prediction.box, cut.box, atol=1e-6)
    np.testing.assert_allclose(prediction.stability, cut.stability, atol=1e-6)
    np.testing.assert_allclose(prediction.map, 1 / (1 + np.exp(-logits)), atol=1e-6)
    placed = np.asarray(cut.box) * np.tile([0.5, 0.3], 2) + np.tile([0.25, 0.1], 2)
    window = (0.25, 0.1, 0.75, 0.4)
    np.testing.assert_allclose(method.predict(variables, batch_of(target, window)).box, placed, atol=1e-6)
    mirrored = placed[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1, 0, 1, 0]
    box = method.predict(variables, batch_of(target, window, flip=True)).box
    np.testing.assert_allclose(box, mirrored, atol=1e-6)


def test_the_head_sees_on_features_what_it_sees_behind_the_network(experiment):
    method, variables = experiment.method, experiment.variables
    image = batch_of(np.zeros((COUNT, GRID, GRID), np.float32)).image
    whole, _ = method.network(variables, method.prepare(image), None, None, False)
    head, features = on_features(method), features_of(method, variables, image)
    kept, _ = head.network(variables, head.prepare(features), None, None, False)
    np.testing.assert_allclose(kept.maps["mask"], whole.maps["mask"], atol=1e-5)


def test_one_cell_depends_on_its_own_features_alone(experiment):
    head, variables = on_features(experiment.method), experiment.variables
    features = np.random.default_rng(0).random((1, 4, 4, 16), np.float32)
    changed = features.copy()
    changed[0, 1, 2] += 1
    before, after = (
        head.network(variables, x, None, None, False)[0].maps["mask"][0, ..., 0] for x in (features, changed)
    )
    differs = np.zeros((4, 4), bool)
    differs[1, 2] = True
    np.testing.assert_array_equal(np.asarray(before) != np.asarray(after), differs)
