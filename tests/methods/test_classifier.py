"""The classifier: cross-entropy, accuracy, logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy.special import log_softmax

from wsol_jax.methods.method import Outputs

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.3, 0.2], [-1.0, 4.0, 1.0]], np.float32)
LABEL = np.array([0, 2, 1], np.int32)


@pytest.fixture(scope="module")
def experiment():
    return tiny.experiment("classifier", "vgg_gap")


def objective(experiment, logits):
    outputs = Outputs({}, {"classes": logits}, {})
    return experiment.method.objective(outputs, LABEL, None, (), jax.random.key(0), jnp.zeros(()))


def test_the_loss_is_the_mean_cross_entropy(experiment):
    loss, memory, logs = objective(experiment, jnp.asarray(LOGITS))
    np.testing.assert_allclose(loss, -log_softmax(LOGITS, -1)[np.arange(3), LABEL].mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["accuracy"], 2 / 3, rtol=1e-6)
    assert memory == ()
    gradient = jax.grad(lambda logits: objective(experiment, logits)[0])(jnp.asarray(LOGITS))
    np.testing.assert_allclose(gradient, (np.exp(log_softmax(LOGITS, -1)) - np.eye(3)[LABEL]) / 3, atol=1e-6)


def test_logits_are_those_of_the_network(experiment):
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    method, variables = experiment.method, experiment.variables
    logits = method.module.apply(variables, method.prepare(batch.image), False).head
    prediction = method.predict(variables, batch)
    assert prediction.logits.shape == (8, tiny.CLASSES) and prediction.box is None and prediction.map is None
    np.testing.assert_allclose(prediction.logits, logits, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("new_head, group", [(True, "new"), (False, "base")])
def test_its_head_may_come_from_the_weights(new_head, group):
    method = tiny.experiment("classifier", "vgg_gap", new_head=new_head).method
    assert method.group(("head", "classifier", "kernel")) == group
