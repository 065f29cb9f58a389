"""DA-WSOL against the published code, on top of other methods, over several steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
import tiny

from configs.base import get_config
from wsol_jax import devices
from wsol_jax.backbones import initialise
from wsol_jax.errors import InputError
from wsol_jax.losses import dann, mmd
from wsol_jax.losses.classes import cross_entropy
from wsol_jax.methods import METHODS
from wsol_jax.methods.dawsol.method import dal, dawsol
from wsol_jax.methods.dawsol.target_samples import FAKE, REAL, UNIVERSUM, Assigned, no_anchors
from wsol_jax.methods.method import total_loss
from wsol_jax.training.optimiser import make_optimiser
from wsol_jax.training.step import initial_state, make_step


def dawsol_keys(**changes):
    keys = get_config().train.dawsol.unlock()
    keys.update({"use": True, "samples": 2} | changes)
    return keys


def experiment(arch="resnet50", method="cam", **changes):
    kwargs = tiny.NARROW[arch] | dict(stride=16) | ({"conv6": 12} if arch == "vgg_gap" else {})
    rest = dict(arch_kwargs=kwargs, epochs=4.0, learning_rate=1e-4)
    return tiny.experiment("train", arch, method=method, dawsol=dawsol_keys(**changes), **rest)


def first_batch(setup):
    return jax.tree.map(jnp.asarray, next(setup.batches(range(1), tiny.mesh(1))))


def in_raster_order(key, shape):
    return jnp.broadcast_to(1 - jnp.arange(shape[1]) / shape[1], shape)


@pytest.mark.parametrize("order", ["sequential", "batch"])
@pytest.mark.parametrize("name", ["mmd", "dann"])
def test_published_losses_and_gradients(goldens, name, order):
    """In these batches the orders agree: their classes' anchors hardly move."""
    golden = np.load(goldens / "dawsol" / f"dal_{name}.npz")
    weights = {"W": golden["W"], "b": golden["b"], "Wd": golden["Wd"], "bd": golden["bd"]}
    settings, anchors = get_config().train.dawsol.unlock(), no_anchors(5, 16)
    settings.anchor_order = order

    def classify_domains(weights, source, target, mask):
        sides = (dann.reverse_gradient(side, float(golden["lambd"])) for side in (source, target))
        return dann.adversarial(*(side @ weights["Wd"] + weights["bd"][0] for side in sides), mask), jnp.int32(0)

    for i in range(2):
        b, d, h, w = golden[f"{i}_feat"].shape
        pixels = golden[f"{i}_feat"].transpose(0, 2, 3, 1).reshape(b, h * w, d)
        label = golden[f"{i}_labels"].astype(np.int32)

        def loss(pixels, weights, anchors=anchors, label=label):
            logits = pixels.mean(axis=1) @ weights["W"].T + weights["b"][None]
            domain_loss = mmd.linear if name == "mmd" else lambda *sides: classify_domains(weights, *sides)
            terms = dal(pixels, label, anchors, domain_loss, settings, jax.random.key(0), in_raster_order)
            classes = cross_entropy(logits, label)
            total = classes + float(golden["beta"]) * terms.domain + float(golden["univer"]) * terms.universum
            return total, (logits, {"": total, "_c": classes, "_d": terms.domain, "_u": terms.universum}, terms.anchors)

        run = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
        (of_pixels, of_weights), (logits, losses, anchors) = run(pixels, weights)
        np.testing.assert_allclose(logits, golden[f"{i}_logits"], rtol=1e-5, atol=1e-6)
        for term, value in losses.items():
            assert value == pytest.approx(float(golden[f"{i}_loss{term}"]), rel=1e-5), term
        gradients = of_weights | {"feat": of_pixels.reshape(b, h, w, d).transpose(0, 3, 1, 2)}
        for what, gradient in gradients.items():
            if f"{i}_g_{what}" in golden:
                expected = golden[f"{i}_g_{what}"]
                np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


@pytest.mark.long
@pytest.mark.parametrize(
    "arch, method, changes",
    [
        ("vgg_gap", "cam", {}),
        ("inception_v3", "cam", {}),
        ("resnet50", "cam", dict(domain_loss="dann")),
        ("resnet50", "cam", dict(assigner=False, domain_loss="mmd_quadratic", universum_weight=0.0)),
        ("resnet50", "has", dict(anchor_order="sequential")),
        ("resnet50", "cutmix", dict(domain_loss="mmd_quadratic", universum="sum")),
        ("resnet50", "adl", dict(anchor_update="real")),
    ],
)
def test_gradients_and_anchors_on_top_of(arch, method, changes):
    """Finite gradients, a domain classifier only for its loss, and anchors from every label of a photo."""
    setup = experiment(arch, method, **changes)
    batch = first_batch(setup)

    def loss(params):
        variables = setup.variables | {"params": params}
        return total_loss(setup.method, variables, batch, setup.method.memory, jax.random.key(0), jnp.float32(0.5))

    gradients, (_, memory, logs) = jax.jit(jax.grad(loss, has_aux=True))(setup.variables["params"])
    assert jax.tree.structure(memory) == jax.tree.structure(setup.method.memory)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((gradients, memory, logs)))
    assert ("domain" in gradients) == (changes.get("domain_loss") == "dann")
    assert memory.anchors.photos == {"cutmix": 16}.get(method, 8) * changes.get("assigner", True)


def steps(setup, count, devices_used=1):
    mesh = tiny.mesh(devices_used)
    optimiser = make_optimiser(setup.config, 3.0, setup.method.group)
    step = make_step(setup.method, optimiser, seed=0, total_steps=12, mesh=mesh)
    state = devices.replicate(initial_state(setup.variables, setup.method.memory, optimiser), mesh)
    logs = []
    for batch in devices.prefetch(setup.batches(range(count), mesh), mesh):
        state, log = step(state, batch)
        logs.append(jax.tree.map(float, log))
    return jax.tree.map(np.asarray, state), logs


def test_one_device_is_as_good_as_eight():
    """Up to rounding, which every step amplifies: compared after the first two steps."""
    setup = experiment(start_epoch=-1)
    (one, logs), (eight, others) = (steps(setup, 2, devices_used) for devices_used in (1, 8))
    assert one.memory.anchors.photos == 16
    for a, b in zip(logs, others, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["share_fake"] == pytest.approx(b["share_fake"], abs=1e-6)
    for a, b in zip(one.memory.anchors, eight.memory.anchors, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("start_epoch, begins", small.first_alone([(1, 6), (-1, 0)]))
def test_the_first_epochs_are_without_it(start_epoch, begins):
    """Three steps an epoch; published: epoch (from 0) > start_epoch."""
    state, logs = steps(experiment(start_epoch=start_epoch), 7)
    plain = [abs(log["loss"] - log["classification"]) < 1e-6 for log in logs]
    assert plain == [step < begins for step in range(7)]
    assert state.memory.anchors.photos == 8 * (7 - begins)


def test_the_memory_survives_an_interruption(tmp_path):
    setup, mesh = experiment(domain_loss="dann"), tiny.mesh(1)
    setup.config.unlock().checkpoint_every = 4
    whole = setup.train(tmp_path / "whole", mesh)

    def cut_off(steps):
        for at, batch in zip(steps, setup.batches(steps, mesh), strict=True):
            if at == 7:  # two more are already on their way to the devices
                tiny.wait_for(lambda: tiny.saves(tmp_path / "cut", "4"))
                raise InterruptedError
            yield batch

    with pytest.raises(InterruptedError):
        setup.train(tmp_path / "cut", mesh, cut_off)
    resumed = setup.train(tmp_path / "cut", mesh)
    tiny.assert_trees_equal(whole, resumed)
    assert whole.memory.anchors.photos > 0


@pytest.mark.long
def test_training_ends_with_a_warning_of_the_missed_terms(tmp_path, caplog):
    """Eight real and seven fake target samples are all but one of sixteen pixels, which few photos have."""
    state = experiment(samples=8).train(tmp_path, tiny.mesh(1))
    pairs = int(state.memory.missed.pairs)
    assert pairs > 0
    assert f"terms of the loss were 0 for lack of pixels, in 12 steps: missed_pairs {pairs}" in caplog.text


def terms_and_gradients(pixels, label, anchors, **changes):
    """The terms of the DAL loss, and the gradients of L_d and of L_u."""
    keys = dawsol_keys(**changes)

    @jax.jit
    def run(pixels):
        _, back = jax.vjp(lambda x: dal(x, label, anchors, mmd.linear, keys, jax.random.key(0))[:2], pixels)
        gradients = [back(weights)[0] for weights in ((1.0, 0.0), (0.0, 1.0))]
        return dal(pixels, label, anchors, mmd.linear, keys, jax.random.key(0)), *gradients

    return jax.tree.map(np.asarray, run(pixels))


def test_equal_pixels_are_universum_and_no_pair():
    """Of equal distances the first cluster wins, so there is a Universum, but no pair."""
    terms, of_domain, of_universum = terms_and_gradients(jnp.ones((4, 16, 8)), jnp.arange(4) % 2, no_anchors(2, 8))
    assert terms.logs["share_universum"] == 1 and terms.logs["kept"] == 0
    assert terms.missed.pairs and not terms.missed.universum and terms.missed.spread == 0
    assert terms.domain == 0 and terms.universum == 1
    assert not of_domain.any() and (of_universum > 0).all()


def test_universum_pixels_are_those_away_from_class_and_mean():
    """The anchor of the Universum is far from everything, so its cluster starts empty and gets the farthest pixel."""
    values = jnp.asarray(np.random.default_rng(0).random((2, 8)) + 1, jnp.float32)
    anchors = no_anchors(1, 8)._replace(of_class=values[:1], visits=jnp.ones(1, jnp.int32), photos=jnp.int32(1))
    anchors = anchors._replace(universum=jnp.full(8, -50.0))
    photo = jnp.repeat(values, 8, axis=0)[None]
    terms, _, of_universum = terms_and_gradients(photo, jnp.zeros(1, jnp.int32), anchors)
    assert terms.logs["share_universum"] == 0.5 and not terms.missed.universum
    assert terms.universum == pytest.approx(float(values[1].mean()), rel=1e-5)
    assert not of_universum[0, :8].any() and (of_universum[0, 8:] > 0).all()


SETS_OF_LABEL = np.repeat(
    [
        [FAKE, FAKE, FAKE, FAKE],
        [UNIVERSUM, FAKE, REAL, REAL],
        [UNIVERSUM, UNIVERSUM, FAKE, REAL],
        [FAKE, FAKE, REAL, REAL],
    ],
    [4, 4, 4, 4],
    axis=1,
)
"""The sets of sixteen pixels: without Universum and pairs; with both; without pairs; without Universum.

With five samples, pairs need four fake and five real target samples.
"""


@pytest.fixture
def prescribed(monkeypatch):
    """The sets of a photo's pixels follow from its label alone, not from K-means."""

    def assign(pixels, label, anchors, offset):
        b, _, d = pixels.shape
        return Assigned(jnp.asarray(SETS_OF_LABEL)[label], jnp.zeros((b, 3, d)), jnp.ones(b, jnp.int32))

    monkeypatch.setattr("wsol_jax.methods.dawsol.method.assign", assign)


def test_missing_terms_are_zero_without_gradient_and_counted(prescribed):
    pixels = jnp.float32(np.random.default_rng(0).random((2, 16, 8)))
    for label, pairs, universum in [(0, False, False), (1, True, True), (2, False, True), (3, True, False)]:
        terms, *gradients = terms_and_gradients(pixels, jnp.array([0, label]), no_anchors(4, 8), samples=5)
        assert terms.missed == (not pairs, not universum, 0)
        assert [term != 0 for term in (terms.domain, terms.universum)] == [pairs, universum]
        assert [gradient.any() for gradient in gradients] == [pairs, universum]
        assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.usefixtures("prescribed")
def test_missing_terms_are_counted_for_each_label_of_mixed_photos():
    """CutMix mixes the photos of a batch, so both labels of its photos are a batch of the same labels."""
    setup = experiment(method="cutmix", samples=5)
    config = setup.config.copy_and_resolve_references()
    method = dawsol(METHODS["cutmix"].make(config, 4), config, 4)
    variables = initialise(jax.random.key(0), method.module, (1, tiny.SIZE, tiny.SIZE, 3))
    loss = jax.jit(lambda batch, memory, key: total_loss(method, variables, batch, memory, key, jnp.float32(0.5)))
    memory, batch, pairs, universum = method.memory, first_batch(setup), 0, 0
    for i, labels in enumerate([[0] * 8, [2] * 8, [0, 2] * 4, [3] * 8, [0] * 7 + [1], [2] * 7 + [3]]):
        value, (_, memory, logs) = loss(batch._replace(label=jnp.array(labels)), memory, jax.random.key(i))
        pairs += 2 * (not {1, 3} & set(labels))
        universum += 2 * (not {1, 2} & set(labels))
        assert (logs["missed_pairs"], logs["missed_universum"], logs["missed_spread"]) == (pairs, universum, 0)
        assert (abs(value - logs["classification"]) < 1e-6) == (set(labels) == {0})
    assert memory.missed == (6, 4, 0)


def test_the_domain_classifier_has_its_own_rate_that_stays():
    setup = experiment(domain_loss="dann")
    config = setup.config.copy_and_resolve_references().unlock()
    config.update(decay_every=1.0, decay_early=0.0, learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    optimiser, params = make_optimiser(config, 3.0, setup.method.group), setup.variables["params"]
    state, ones = optimiser.init(params), jax.tree.map(jnp.ones_like, params)
    for _ in range(4):
        updates, state = optimiser.update(ones, state, params)
    assert float(updates["domain"]["domain"]["bias"][0]) == pytest.approx(-1.0)
    assert float(updates["head"]["fc"]["bias"][0]) == pytest.approx(-0.1)


def test_predictions_are_those_of_the_method_and_with_a_memory_the_sets():
    setup = experiment()
    batch = first_batch(setup)
    prediction = setup.method.predict(setup.variables, batch)
    assert prediction.assignment is None
    plain = tiny.experiment("train", method="cam", arch_kwargs=tiny.NARROW["resnet50"] | dict(stride=16))
    np.testing.assert_array_equal(prediction.map, plain.method.predict(plain.variables, batch).map)
    with_sets = setup.method.predict(setup.variables | {"memory": setup.method.memory}, batch)
    assert with_sets.assignment.shape == with_sets.map.shape and set(np.unique(with_sets.assignment)) <= {0, 1, 2}


def test_photos_without_a_label_have_map_and_sets_of_the_most_probable_class():
    setup = experiment()
    batch, anchors = first_batch(setup), setup.method.memory.anchors
    outputs, _ = setup.method.network(setup.variables, setup.method.prepare(batch.image), None, None, False)
    some = list(outputs.stages.values())[-1][0].reshape(16, -1)[::6]  # pixels, so that each class has other sets
    anchors = anchors._replace(of_class=some, visits=anchors.visits + 1)
    variables = setup.variables | {"memory": setup.method.memory._replace(anchors=anchors)}

    def predict(label):
        return setup.method.predict(variables, batch, label)

    unlabelled = predict(None)
    probable = np.asarray(unlabelled.logits).argmax(-1)
    tiny.assert_trees_equal(predict(np.full(8, -1)), unlabelled)
    tiny.assert_trees_equal(predict(probable), unlabelled)
    other = predict((probable + 1) % tiny.CLASSES)
    assert (np.asarray(other.map) != np.asarray(unlabelled.map)).any()
    assert (np.asarray(other.assignment) != np.asarray(unlabelled.assignment)).any()


@pytest.mark.parametrize(
    "method, changes, message",
    [
        ("acol", {}, "acol"),
        ("spg", {}, "spg"),
        ("cam", dict(samples=9), "samples is 9"),
        ("cam", dict(samples=1), "samples is 1"),
        ("cam", dict(assigner=False), "universum_weight=0"),
        ("cam", dict(assigner=False, universum_weight=0.0), "mmd_quadratic or dann"),
        ("cam", dict(assigner=False, universum_weight=0.0, domain_loss="dann", samples=17), "16 pixels"),
    ],
)
def test_unsuitable_values_are_errors(method, changes, message):
    with pytest.raises(InputError, match=message):
        keys = dawsol_keys()
        keys.update(changes)
        tiny.experiment("train", method=method, arch_kwargs=tiny.NARROW["resnet50"] | dict(stride=16), dawsol=keys)


def test_layers_between_the_map_and_the_classifier_are_an_error():
    config = tiny.config("train", "vgg_gap", method="grad_cam", dawsol=dawsol_keys()).unlock()
    config.arch = "vgg16"
    with pytest.raises(InputError, match="method grad_cam: vgg16"):
        dawsol(METHODS["grad_cam"].make(config, tiny.CLASSES), config, tiny.CLASSES)
