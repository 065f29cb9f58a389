"""The localizer: its loss in the frame of the crop, its boxes in the frame of the photo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Outputs

BOX = np.array([[0.1, 0.2, 0.5, 0.4], [0.9, 0.3, 0.2, 0.6]], np.float32)  # left, top, width, height
TARGET = np.array([[0.2, 0.2, 0.3, 0.9], [0.4, 0.3, 0.6, 0.9]], np.float32)  # left, top, right, bottom


@pytest.fixture(scope="module")
def experiment():
    return tiny.experiment(arch="vgg_gap")


def batch_of(target, window=(0, 0, 1, 1), flip=False):
    n = len(target)
    image = np.random.default_rng(0).integers(0, 256, (n, tiny.SIZE, tiny.SIZE, 3), np.uint8)
    zeros = np.zeros(n, np.int32)
    return Batch(image, np.tile(np.float32(window), (n, 1)), np.full(n, flip), zeros, target, zeros, zeros == 0)


def objective(experiment, box):
    outputs = Outputs({}, {}, {}, box)
    return experiment.method.objective(outputs, None, batch_of(TARGET), (), jax.random.key(0), jnp.zeros(()))


def test_the_loss_is_fifty_times_the_squared_error_of_left_top_width_height(experiment):
    wanted = np.array([[0.2, 0.2, 0.1, 0.7], [0.4, 0.3, 0.2, 0.6]], np.float32)
    loss, memory, _ = objective(experiment, jnp.asarray(BOX))
    np.testing.assert_allclose(loss, 50 * np.square(BOX - wanted).mean(), rtol=1e-6)
    assert memory == ()
    gradient = jax.grad(lambda box: objective(experiment, box)[0])(jnp.asarray(BOX))
    np.testing.assert_allclose(gradient, 50 * 2 * (BOX - wanted) / 8, rtol=1e-5, atol=1e-6)


def test_the_overlap_is_logged(experiment):
    _, _, logs = objective(experiment, jnp.asarray(BOX))
    both, first, second = 0.1 * 0.4, 0.5 * 0.4, 0.1 * 0.7
    np.testing.assert_allclose(logs["iou"], both / (first + second - both) / 2, rtol=1e-5)  # the second pair is apart


def test_boxes_return_from_crop_and_mirror_to_the_photo(experiment):
    method, variables = experiment.method, experiment.variables
    seen = batch_of(TARGET)
    outputs, _ = method.network(variables, method.prepare(seen.image), None, None, False)
    x, y, w, h = np.asarray(outputs.box).T
    np.testing.assert_allclose(
        method.predict(variables, seen).box, np.stack([x, y, x + w, y + h], -1).clip(0, 1), atol=1e-6
    )
    window, (width, height) = (0.25, 0.1, 0.75, 0.4), (0.5, 0.3)
    placed = np.stack([0.25 + width * x, 0.1 + height * y, 0.25 + width * (x + w), 0.1 + height * (y + h)], -1)
    box = method.predict(variables, batch_of(TARGET, window)).box
    np.testing.assert_allclose(box, placed.clip(0, 1), atol=1e-6)
    mirrored = placed[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1, 0, 1, 0]  # the window is as far from left as from right
    box = method.predict(variables, batch_of(TARGET, window, flip=True)).box
    np.testing.assert_allclose(box, mirrored.clip(0, 1), atol=1e-6)


def test_boxes_are_held_inside_the_photo(experiment):
    head = experiment.variables["params"]["head"]["classifier.2"]
    far = jax.tree.map(np.array, experiment.variables)
    far["params"]["head"]["classifier.2"] = {"kernel": 0 * head["kernel"], "bias": np.full(4, 9, np.float32)}
    np.testing.assert_allclose(experiment.method.predict(far, batch_of(TARGET)).box, [[1, 1, 1, 1]] * 2, atol=1e-3)
    assert experiment.method.predict(far, batch_of(TARGET)).box.max() <= 1


def test_a_box_may_begin_before_the_middle(experiment):
    """With a second ReLU, of which the paper speaks, no coordinate could be less than one half."""
    outputs, _ = experiment.method.network(
        experiment.variables, experiment.method.prepare(batch_of(TARGET).image), None, None, False
    )
    low = jax.tree.map(np.array, experiment.variables)
    low["params"]["head"]["classifier.2"]["bias"] -= 5
    lower, _ = experiment.method.network(low, experiment.method.prepare(batch_of(TARGET).image), None, None, False)
    assert outputs.box.shape == (2, 4) and (lower.box < 0.1).all() and (lower.box > 0).all()


def test_its_head_is_new_and_its_weight_is_the_configurations():
    method = tiny.experiment(arch="vgg_gap", box_weight=3.0).method
    outputs = Outputs({}, {}, {}, jnp.asarray(BOX))
    loss, _, _ = method.objective(outputs, None, batch_of(TARGET), (), jax.random.key(0), jnp.zeros(()))
    wanted = np.array([[0.2, 0.2, 0.1, 0.7], [0.4, 0.3, 0.2, 0.6]])
    np.testing.assert_allclose(loss, 3 * np.square(BOX - wanted).mean(), rtol=1e-6)
    assert method.group(("head", "classifier.0", "kernel")) == "new"
