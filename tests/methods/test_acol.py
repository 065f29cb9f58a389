"""ACoL: the second classifier sees the remaining cells, both learn, the larger map counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

from wsol_jax.losses.classes import cross_entropy
from wsol_jax.methods.acol import TwoClassifiers
from wsol_jax.methods.class_maps import mean_of_maps, of_class, unit_range

pytestmark = pytest.mark.usefixtures("optimised")  # its layers of 1024 channels take longer to run than to optimise


@pytest.fixture(scope="module")
def experiment():
    return tiny.experiment("train", method="acol")


@pytest.fixture(scope="module")
def batch(experiment):
    return next(experiment.batches(range(1), tiny.mesh(1)))


def every_map(maps):
    return maps.features @ maps.kernel + maps.bias.reshape(1, 1, 1, -1)


def test_cells_that_the_first_one_responds_to_are_erased_for_the_second():
    stages = {"last": jnp.float32(np.random.default_rng(0).uniform(size=(2, 6, 6, 4)))}
    head, label = TwoClassifiers(3, 0.6, "", False, "float32"), jnp.array([2, 0])
    variables = head.init(jax.random.key(0), stages, label)
    maps = head.apply(variables, stages, label)
    attention = unit_range(of_class(maps["classes"], label))
    left = stages["last"] * (attention < 0.6)[..., None]
    assert 0 < float((left == 0).mean()) < 1
    layers = {name.replace("_B", "_A"): value for name, value in variables["params"].items() if "_B" in name}
    swapped = head.apply({"params": variables["params"] | layers}, {"last": left}, label)["classes"]
    np.testing.assert_allclose(of_class(swapped, label), of_class(maps["erased"], label), atol=1e-5)
    chosen = head.apply(variables, stages, mean_of_maps(maps["classes"]).argmax(-1))["erased"]
    np.testing.assert_array_equal(head.apply(variables, stages, None)["erased"].features, chosen.features)


def test_both_learn_with_the_same_weight(experiment, batch):
    method, variables = experiment.method, experiment.variables

    def run(params):
        image, state = method.prepare(batch.image), variables | {"params": params}
        outputs, _ = method.network(state, image, batch.label, jax.random.key(0), True)
        loss, _, _ = method.objective(outputs, batch.label, batch, (), None, None)
        logits = [every_map(outputs.maps[name]).mean((1, 2)) for name in ("classes", "erased")]
        return loss, sum(cross_entropy(each, batch.label) for each in logits)

    (loss, expected), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(variables["params"])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert all(np.any(value != 0) for value in flatten_dict(gradient).values())


def test_the_larger_of_both_maps_counts(experiment, batch):
    method, variables = experiment.method, experiment.variables
    outputs, _ = method.network(variables, method.prepare(batch.image), batch.label, None, False)
    both = [unit_range(of_class(outputs.maps[name], batch.label)) for name in ("classes", "erased")]
    prediction = method.predict(variables, batch, batch.label)
    np.testing.assert_allclose(prediction.map, np.maximum(*both), atol=1e-5)
    np.testing.assert_allclose(prediction.logits, outputs.logits["classes"], rtol=1e-5)


def test_the_classes_layers_never_compute_in_less_than_float32():
    experiment = tiny.experiment("train", method="acol", dtype="bfloat16")
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    method, variables = experiment.method, experiment.variables
    outputs, _ = method.network(variables, method.prepare(batch.image), batch.label, None, False)
    for name in ("classes", "erased"):
        assert outputs.maps[name].features.dtype == jnp.bfloat16
        for values in (outputs.logits[name], of_class(outputs.maps[name], batch.label)):
            assert values.dtype == jnp.float32
            assert (values != values.astype(jnp.bfloat16).astype(jnp.float32)).any()
