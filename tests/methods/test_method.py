"""The properties of every method, and how its parts become one loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Method, Outputs, total_loss, unperturbed


@pytest.fixture(scope="module", params=["localizer", "classifier"])
def experiment(request):
    return tiny.experiment(request.param, "efficientnet_lite0")


@pytest.fixture(scope="module")
def batch(experiment):
    return next(experiment.batches(range(1), tiny.mesh(1)))


@pytest.fixture(scope="module")
def loss_of(experiment):
    """(batch, seed) -> the results of `total_loss`."""
    method, variables = experiment.method, experiment.variables
    run = jax.jit(lambda *args: total_loss(method, *args, jnp.zeros(())))
    return lambda batch, seed=0: run(variables, batch, method.memory, jax.random.key(seed))


def test_a_method_trains(experiment, batch, loss_of):
    loss, (batch_stats, memory, logs) = loss_of(batch)
    assert loss.shape == () and loss.dtype == np.float32 and loss > 0
    assert logs["loss"] == loss and all(value.shape == () and np.isfinite(value) for value in logs.values())
    assert memory == experiment.method.memory
    before = experiment.variables["batch_stats"]
    assert jax.tree.structure(batch_stats) == jax.tree.structure(before)
    assert all(
        (new != old).any() for new, old in zip(jax.tree.leaves(batch_stats), jax.tree.leaves(before), strict=True)
    )


def test_a_loss_depends_on_its_key_as_networks_drop(batch, loss_of):
    first, again, other = (loss_of(batch, seed)[0] for seed in (0, 0, 1))
    assert first == again != other


def test_where_a_crop_lies_never_reaches_a_loss(batch, loss_of):
    elsewhere = batch._replace(window=batch.window + 7, index=batch.index + 7, flip=~batch.flip)
    assert loss_of(elsewhere)[0] == loss_of(batch)[0]


def test_a_method_predicts_without_labels(experiment, batch):
    predict, variables = jax.jit(experiment.method.predict), experiment.variables
    prediction = predict(variables, batch)
    unlabelled = batch._replace(label=batch.label * 0, target=batch.target * 0)
    tiny.assert_trees_equal(prediction, predict(variables, unlabelled))
    given = [array for array in prediction if array is not None]
    assert given and all(len(array) == len(batch.label) and np.isfinite(array).all() for array in given)


def test_every_parameter_has_a_group(experiment):
    groups = {path: experiment.method.group(path) for path in flatten_dict(experiment.variables["params"])}
    assert set(groups.values()) == {"base", "new"}
    assert {path[0] for path, group in groups.items() if group == "new"} == {"head"}


def test_preparation_is_the_architectures_own(experiment, batch):
    prepared = experiment.method.prepare(batch.image)
    np.testing.assert_allclose(prepared, (batch.image.astype(np.float32) - 127) / 128, atol=1e-6)


def test_nothing_is_perturbed():
    image, label = np.ones((2, 3)), np.arange(2)
    same_image, labels = unperturbed(jax.random.key(0), image, label)
    assert same_image is image and labels == [(label, 1.0)]


def counting(weights: list[float]) -> Method:
    """A method whose loss is the sum of its labels, which counts in its memory the calls of its objective."""

    def objective(outputs, label, batch, memory, key, progress):
        draw = jax.random.uniform(key)
        logs = {"label": label.sum() * 1.0, "draw": draw, "progress": progress, "missed_calls": memory + 1}
        return label.sum() * 1.0, memory + 1, logs

    def perturb(key, image, label):
        return image + jax.random.uniform(key), [(label * (i + 1), weight) for i, weight in enumerate(weights)]

    def network(variables, image, label, key, train):
        return Outputs({}, {}, {}), {"seen": image, "draw": jax.random.uniform(key), "train": train}

    return Method(None, lambda image: image / 2, perturb, network, objective, 0, None, None)


def total(weights, memory=0):
    nothing = np.zeros((8, 4), np.float32)
    image, label = np.zeros((8, 2, 2, 3), np.uint8), np.full(8, 3)
    batch = Batch(image, nothing, label == 0, label, nothing, np.arange(8), label == 3)
    return total_loss(counting(weights), {}, batch, memory, jax.random.key(5), 0.25)


def test_a_loss_is_the_weighted_sum_over_the_labels_of_the_perturbation():
    loss, (_, memory, logs) = total([0.3, 0.7], memory=4)
    np.testing.assert_allclose(loss, 0.3 * 24 + 0.7 * 48)
    np.testing.assert_allclose([logs["label"], logs["loss"], logs["progress"]], [loss, loss, 0.25])
    assert memory == logs["missed_calls"] == 6


def test_perturbation_network_and_objectives_draw_apart():
    _, (seen, _, logs) = total([1.0])
    _, (again, _, other) = total([0.0, 1.0])
    draws = [float(seen["seen"].ravel()[0]), float(seen["draw"]), float(logs["draw"]), float(other["draw"])]
    assert len(set(draws)) == 4
    assert seen["train"] is True
    np.testing.assert_array_equal(seen["seen"], again["seen"])
