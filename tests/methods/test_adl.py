"""ADL: the largest cells dropped, or all of them weighed; nothing in prediction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from scipy.special import expit

from wsol_jax.errors import InputError
from wsol_jax.methods import METHODS
from wsol_jax.methods.adl import attend
from wsol_jax.methods.method import total_loss

FEATURES = np.random.default_rng(0).uniform(size=(3, 4, 5, 6)).astype(np.float32)


def test_cells_near_the_maximum_are_dropped():
    out = np.asarray(attend(jax.random.key(0), FEATURES, 1.0, 0.9))
    mean = FEATURES.mean(-1)
    kept = mean < 0.9 * mean.max(axis=(1, 2), keepdims=True)
    assert 0 < kept.mean() < 1
    np.testing.assert_allclose(out, FEATURES * kept[..., None], rtol=1e-6)


def test_or_all_are_weighed():
    out = attend(jax.random.key(0), FEATURES, 0.0, 0.9)
    np.testing.assert_allclose(out, FEATURES * expit(FEATURES.mean(-1, keepdims=True)), rtol=1e-5)


def test_one_draw_decides_for_the_batch():
    dropped = [bool((attend(jax.random.key(key), FEATURES, 0.75, 0.9) == 0).any()) for key in range(200)]
    assert 0.65 < np.mean(dropped) < 0.85


def test_it_attends_at_the_published_places_and_only_in_training():
    mine, plain = (tiny.experiment("train", method=name) for name in ("adl", "cam"))
    batch = next(mine.batches(range(1), tiny.mesh(1)))
    jax.tree.map(np.testing.assert_array_equal, mine.variables, plain.variables)
    predictions = [one.method.predict(one.variables, batch) for one in (mine, plain)]
    np.testing.assert_array_equal(*(prediction.map for prediction in predictions))

    def maps(experiment):
        image = experiment.method.prepare(batch.image)
        return experiment.method.network(experiment.variables, image, batch.label, jax.random.key(0), True)[0].stages

    ours, theirs = maps(mine), maps(plain)
    same = {name for name in theirs if np.array_equal(ours[name], theirs[name])}
    assert same == {"conv1", "layer1.0", "layer1", "layer2.0", "layer2"}
    loss, _ = total_loss(mine.method, mine.variables, batch, (), jax.random.key(0), jnp.zeros(()))
    assert np.isfinite(loss)


def test_networks_without_a_published_place_are_refused():
    with pytest.raises(
        InputError,
        match=r"adl: arch is 'efficientnet_lite0'; expected one of vgg_gap, resnet50, resnet50_v1, inception_v3",
    ):
        METHODS["adl"].make(tiny.config("train", "efficientnet_lite0", method="adl"), 3)
