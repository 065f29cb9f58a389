"""SPG: the pixels that surely are object or background, the losses, the side heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict
from scipy.special import expit

from wsol_jax.errors import InputError
from wsol_jax.losses.classes import cross_entropy
from wsol_jax.methods import METHODS
from wsol_jax.methods.method import total_loss
from wsol_jax.methods.spg import seed_loss


def published(logits, guide, high, low):
    """wsolevaluation's get_mask and loss_attention, written out."""
    mask = np.full(guide.shape, 255.0)
    for one, seen in zip(mask, guide, strict=True):
        above = seen > high
        if above.sum() < 30:
            above = seen > seen.max() * 0.7
        one[above] = 1
    mask[guide < low] = 0
    sure = mask < 255
    p = expit(logits[sure].astype(np.float64))
    return -np.mean(mask[sure] * np.log(p) + (1 - mask[sure]) * np.log1p(-p))


@pytest.mark.parametrize("high, low", [(0.7, 0.01), (0.5, 0.05), (0.7, 0.1), (0.2, 0.6), (0.999, 0.3)])
def test_the_seeds_are_the_published_ones(high, low):
    rng = np.random.default_rng(0)
    logits, guide = rng.normal(size=(3, 16, 16)).astype(np.float32), rng.uniform(size=(3, 16, 16)).astype(np.float32)
    guide[1] *= 0.4
    loss = seed_loss(jnp.asarray(logits), jnp.asarray(guide), high, low)
    np.testing.assert_allclose(loss, published(logits, guide, high, low), rtol=1e-5)
    gradient = jax.grad(seed_loss, argnums=1)(jnp.asarray(logits), jnp.asarray(guide), high, low)
    assert not np.any(gradient)


def test_a_guide_that_is_sure_nowhere_has_no_loss():
    flat = jnp.full((2, 8, 8), 0.5)
    loss, gradient = jax.value_and_grad(seed_loss)(flat, flat * 0, 0.7, 0.0)
    assert loss == 0 and not np.any(gradient)


@pytest.mark.usefixtures("optimised")  # two heads of 1024 channels take longer to run
def test_every_head_learns_and_the_map_is_the_classes(tmp_path):
    experiment = tiny.experiment("train", method="spg")
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    method, variables = experiment.method, experiment.variables

    def run(params):
        state = variables | {"params": params}
        loss, (_, _, logs) = total_loss(method, state, batch, (), jax.random.key(0), jnp.zeros(()))
        return loss, logs

    gradient, logs = jax.jit(jax.grad(run, has_aux=True))(variables["params"])
    assert all(np.any(value != 0) for value in flatten_dict(gradient).values())
    outputs, _ = method.network(variables, method.prepare(batch.image), None, None, False)
    assert set(outputs.maps) == {"classes", "b1", "b2", "c"} and outputs.maps["b1"].shape[-1] == 1
    assert logs["loss"] > logs["guidance"] > 0
    prediction = method.predict(variables, batch, batch.label)
    features, kernel, bias = map(np.asarray, outputs.maps["classes"])
    expected = np.take_along_axis(features @ kernel + bias, batch.label[:, None, None, None], -1)[..., 0]
    np.testing.assert_allclose(prediction.map, expected, atol=1e-5)
    assert cross_entropy(outputs.logits["classes"], batch.label) > 0


def test_networks_without_published_side_heads_are_refused():
    with pytest.raises(
        InputError,
        match=r"spg: arch is 'efficientnet_lite0'; expected one of vgg_gap, resnet50, resnet50_v1, inception_v3",
    ):
        METHODS["spg"].make(tiny.config("train", "efficientnet_lite0", method="spg"), 3)


def test_the_last_layers_never_compute_in_less_than_float32():
    experiment = tiny.experiment("train", method="spg", dtype="bfloat16")
    batch = next(experiment.batches(range(1), tiny.mesh(1)))
    method, variables = experiment.method, experiment.variables
    outputs, _ = method.network(variables, method.prepare(batch.image), None, None, False)
    assert outputs.maps["classes"].features.dtype == jnp.bfloat16
    of_label = method.predict(variables, batch, batch.label).map
    for values in (outputs.logits["classes"], of_label, *(outputs.maps[name] for name in ("b1", "b2", "c"))):
        assert values.dtype == jnp.float32
        assert (values != values.astype(jnp.bfloat16).astype(jnp.float32)).any()
