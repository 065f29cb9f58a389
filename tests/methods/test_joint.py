"""-Joint: both losses on one network, predictions of both kinds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

from wsol_jax import boxes
from wsol_jax.losses.box import squared_error
from wsol_jax.losses.classes import cross_entropy
from wsol_jax.methods.method import Outputs, total_loss


@pytest.fixture(scope="module")
def experiment():
    return tiny.experiment("joint", class_weight=2.0, box_weight=30.0)


@pytest.fixture(scope="module")
def batch(experiment):
    return next(experiment.batches(range(1), tiny.mesh(1)))


def test_the_loss_weighs_classes_and_box(experiment, batch):
    rng = np.random.default_rng(0)
    logits, box = jnp.float32(rng.normal(size=(8, 3))), jnp.float32(rng.uniform(0.1, 0.4, (8, 4)))
    auxiliary = jnp.float32(rng.normal(size=(8, 3)))

    def loss(auxiliary):
        outputs = Outputs({}, {"classes": logits}, {}, box, auxiliary)
        return experiment.method.objective(outputs, batch.label, batch, (), None, None)[0]

    classes, error = cross_entropy(logits, batch.label), squared_error(box, boxes.xyxy_to_xywh(batch.target))
    np.testing.assert_allclose(loss(None), 2 * classes + 30 * error, rtol=1e-5)
    with_auxiliary = 2 * (classes + 0.3 * cross_entropy(auxiliary, batch.label)) + 30 * error
    np.testing.assert_allclose(loss(auxiliary), with_auxiliary, rtol=1e-5)


def test_every_layer_learns_from_both(experiment, batch):
    method, variables = experiment.method, experiment.variables

    def loss(params):
        state = variables | {"params": params}
        return total_loss(method, state, batch, (), jax.random.key(0), jnp.zeros(()))[0]

    gradient = flatten_dict(jax.jit(jax.grad(loss))(variables["params"]))
    assert {path[0] for path in gradient} == {"backbone", "head", "box"}
    assert all(np.any(value != 0) for value in gradient.values())


def test_predictions_are_those_of_its_two_heads(experiment, batch):
    method, variables = experiment.method, experiment.variables
    out = method.module.apply(variables, method.prepare(batch.image), False)
    prediction = method.predict(variables, batch)
    np.testing.assert_allclose(prediction.logits, out.head, rtol=1e-5, atol=1e-6)
    seen = boxes.mirror(boxes.xywh_to_xyxy(out.box), batch.flip)
    expected = boxes.clip(boxes.out_of_window(seen, batch.window))
    np.testing.assert_allclose(prediction.box, expected, atol=1e-6)


@pytest.mark.parametrize("new_head, groups", [(True, ("new", "new")), (False, ("base", "new"))])
def test_the_box_branch_is_always_new(new_head, groups):
    group = tiny.experiment("joint", new_head=new_head).method.group
    assert (group(("head", "fc", "kernel")), group(("box", "box.0", "kernel"))) == groups
