"""Score maps: of a class, and in 0..1."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tiny

from benchmarks.tpu import abstract_batch
from wsol_jax.backbones.initialise import shapes
from wsol_jax.data.render import Batch
from wsol_jax.methods import METHODS
from wsol_jax.methods.class_maps import class_maps, mean_of_maps, of_class, shown_class, unit_range
from wsol_jax.methods.method import ClassMaps, total_loss
from wsol_jax.stages.networks import make_method

AS_CAM = ("has", "cutmix", "adl", "grad_cam")  # the same head and loss


def test_the_mean_of_a_class_map_is_its_logit():
    rng = np.random.default_rng(0)
    features, kernel = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(5, 6))
    for shape in ((5, 6), (1, 1, 5, 6)):
        head = {"fc": {"kernel": jnp.float32(kernel.reshape(shape)), "bias": jnp.ones(6)}}
        maps = class_maps(jnp.float32(features), head)
        np.testing.assert_allclose(mean_of_maps(maps), features.mean(axis=(1, 2)) @ kernel, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [None, np.arange(5.0, dtype=np.float32)], ids=["no bias", "bias"])
def test_each_photo_has_the_map_of_its_class(bias):
    rng, label = np.random.default_rng(0), np.array([4, 1])
    features, kernel = rng.normal(size=(2, 3, 4, 6)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    every = features @ kernel + (0 if bias is None else bias)
    maps = ClassMaps(jnp.asarray(features), jnp.asarray(kernel), None if bias is None else jnp.asarray(bias))
    np.testing.assert_allclose(of_class(maps, label), np.stack([every[0, ..., 4], every[1, ..., 1]]), atol=1e-5)
    np.testing.assert_allclose(mean_of_maps(maps), every.mean(axis=(1, 2)), atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [*(pytest.param(name, marks=[pytest.mark.long] * (name in AS_CAM)) for name in METHODS), "dawsol"],
)
def test_no_program_holds_the_maps_of_all_classes(name):
    """Neither prediction nor training: no array has as many numbers as a prime number of classes on every cell."""
    photos, classes = 3, 37
    config = tiny.config("train", method="cam" if name == "dawsol" else name).unlock()
    config.dawsol.update(use=name == "dawsol", samples=2)
    method = make_method("train", config, classes)
    variables = {"batch_stats": {}} | shapes(method.module, (1, tiny.SIZE, tiny.SIZE, 3))
    batch, memory = abstract_batch(photos, tiny.SIZE), {"memory": method.memory} if method.memory else {}

    def loss(params, rest, batch):
        return total_loss(method, rest | {"params": params}, batch, method.memory, jax.random.key(0), jnp.zeros(()))[0]

    predict, heat = jax.make_jaxpr(method.predict, return_shape=True)(variables | memory, batch, batch.label)
    train = jax.make_jaxpr(jax.grad(loss))(variables["params"], variables, batch)
    for program in (predict, train):
        held = {tuple(map(int, shape.split(","))) for shape in re.findall(r"\w\[([\d,]+)\]", str(program))}
        assert (photos, classes) in held
        assert [shape for shape in held if math.prod(shape) == math.prod(heat.map.shape) * classes] == []


def test_the_shown_class_is_the_label_or_else_the_most_probable_class():
    logits = jnp.array([[0.0, 3.0, 1.0], [5.0, -1.0, 2.0], [0.1, 0.2, 0.3]])
    assert shown_class(logits, None).tolist() == [1, 0, 2]
    assert shown_class(logits, jnp.array([2, -1, 0])).tolist() == [2, 0, 0]
    assert shown_class(logits, jnp.full(3, -1)).tolist() == [1, 0, 2]


@pytest.mark.parametrize("method", small.first_alone(["cam", "grad_cam", "acol"]))
def test_a_photo_without_a_label_has_the_map_of_its_most_probable_class(method):
    """The same whether no photo has a label or the labels are -1; for DA-WSOL see test_dawsol."""
    experiment = tiny.experiment("train", method=method)
    batch = Batch(*(rows[:2] for rows in next(experiment.batches(range(1), tiny.mesh(1)))))

    def predict(label):
        return experiment.method.predict(experiment.variables, batch, label)

    unlabelled = predict(None)
    probable = np.asarray(unlabelled.logits).argmax(-1)
    tiny.assert_trees_equal(predict(np.full(2, -1)), unlabelled)
    tiny.assert_trees_equal(predict(probable), unlabelled)
    other = predict((probable + 1) % tiny.CLASSES)
    assert (np.asarray(other.map) != np.asarray(unlabelled.map)).any(axis=(1, 2)).all()


def test_every_map_reaches_from_zero_to_one_and_a_constant_one_is_zeros():
    maps = np.random.default_rng(0).normal(3, 10, size=(3, 4, 5)).astype(np.float32)
    maps[1] = 7
    scaled = np.asarray(unit_range(jnp.asarray(maps)))
    assert scaled[[0, 2]].min(axis=(1, 2)).tolist() == [0, 0] and scaled[[0, 2]].max(axis=(1, 2)).tolist() == [1, 1]
    assert not scaled[1].any()
    order = np.argsort(maps[0].ravel())
    np.testing.assert_array_equal(np.argsort(scaled[0].ravel()), order)
