"""DA-WSOL beside the published code, on top of every method it goes with, from step to step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from configs.base import get_config
from wsol_jax import devices
from wsol_jax.errors import InputError
from wsol_jax.losses import dann, mmd
from wsol_jax.losses.classes import cross_entropy
from wsol_jax.methods import METHODS
from wsol_jax.methods.dawsol.method import dal, dawsol
from wsol_jax.methods.dawsol.target_samples import no_anchors
from wsol_jax.methods.method import total_loss
from wsol_jax.training.optimiser import sgd
from wsol_jax.training.step import initial_state, make_step


def dawsol_keys(**changes):
    found = get_config().train.dawsol.unlock()
    found.update({"use": True, "samples": 2} | changes)
    return found


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

    def tell_apart(weights, source, target, mask):
        sides = (dann.reverse_gradient(side, float(golden["lambd"])) for side in (source, target))
        return dann.adversarial(*(side @ weights["Wd"] + weights["bd"][0] for side in sides), mask), jnp.int32(0)

    for i in range(2):
        b, d, h, w = golden[f"{i}_feat"].shape
        pixels = golden[f"{i}_feat"].transpose(0, 2, 3, 1).reshape(b, h * w, d)
        label = golden[f"{i}_labels"].astype(np.int32)

        def loss(pixels, weights, anchors=anchors, label=label):
            logits = pixels.mean(axis=1) @ weights["W"].T + weights["b"][None]
            domain_loss = mmd.linear if name == "mmd" else lambda *sides: tell_apart(weights, *sides)
            terms = dal(pixels, label, anchors, domain_loss, settings, jax.random.key(0), in_raster_order)
            classes = cross_entropy(logits, label)
            total = classes + float(golden["beta"]) * terms.domain + float(golden["univer"]) * terms.universum
            return total, (logits, {"": total, "_c": classes, "_d": terms.domain, "_u": terms.universum}, terms.anchors)

        (of_pixels, of_weights), (logits, losses, anchors) = jax.grad(loss, (0, 1), has_aux=True)(pixels, weights)
        np.testing.assert_allclose(logits, golden[f"{i}_logits"], rtol=1e-5, atol=1e-6)
        for term, value in losses.items():
            assert value == pytest.approx(float(golden[f"{i}_loss{term}"]), rel=1e-5), term
        gradients = of_weights | {"feat": of_pixels.reshape(b, h, w, d).transpose(0, 3, 1, 2)}
        for what, gradient in gradients.items():
            if f"{i}_g_{what}" in golden:
                expected = golden[f"{i}_g_{what}"]
                np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


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
@pytest.mark.usefixtures("compile_quickly")
def test_it_goes_with(arch, method, changes):
    """Finite gradients, a domain classifier where one is asked for, and anchors of every label of a photo."""
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
    optimiser = sgd(setup.config, 3.0, setup.method.group)
    step = make_step(setup.method, optimiser, seed=0, total_steps=12, mesh=mesh)
    state = devices.replicate(initial_state(setup.variables, setup.method.memory, optimiser), mesh)
    logs = []
    for batch in devices.prefetch(setup.batches(range(count), mesh), mesh):
        state, log = step(state, batch)
        logs.append(jax.tree.map(float, log))
    return jax.tree.map(np.asarray, state), logs


@pytest.mark.usefixtures("compile_quickly")
def test_one_device_is_as_good_as_eight():
    setup = experiment()
    (one, logs), (eight, others) = (steps(setup, 5, devices_used) for devices_used in (1, 8))
    for a, b in zip(logs, others, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["share_fake"] == pytest.approx(b["share_fake"], abs=1e-6)
    for a, b in zip(one.memory.anchors, eight.memory.anchors, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("compile_quickly")
@pytest.mark.parametrize("start_epoch, begins", [(-1, 0), (1, 6)])
def test_the_first_epochs_are_without_it(start_epoch, begins):
    """Three steps an epoch; published: epoch (from 0) > start_epoch."""
    state, logs = steps(experiment(start_epoch=start_epoch), 7)
    plain = [abs(log["loss"] - log["classification"]) < 1e-6 for log in logs]
    assert plain == [step < begins for step in range(7)]
    assert state.memory.anchors.photos == 8 * (7 - begins)


@pytest.mark.usefixtures("compile_quickly")
def test_what_is_remembered_survives_an_interruption(tmp_path):
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
        tiny.train(tmp_path / "cut", setup.method, setup.variables, cut_off, 24, setup.config, 0, mesh)
    resumed = setup.train(tmp_path / "cut", mesh)
    tiny.assert_trees_equal(whole, resumed)
    assert whole.memory.anchors.photos > 0


@pytest.mark.usefixtures("compile_quickly")
def test_how_often_a_term_was_missing_is_told(tmp_path, caplog):
    """Eight real and seven fake targets are all but one of sixteen pixels, which hardly a photo has."""
    state = experiment(samples=8).train(tmp_path, tiny.mesh(1))
    pairs = int(state.memory.missed.pairs)
    assert pairs > 0
    assert f"terms of the loss were 0 for lack of pixels, in 12 steps: missed_pairs {pairs}" in caplog.text


def test_where_nothing_can_be_computed_nothing_is_added():
    """One pixel everywhere is one cluster, so there is no pair; the published code gives NaN."""
    pixels, label = jnp.ones((4, 16, 8)), jnp.arange(4) % 2
    settings = dawsol_keys(domain_weight=1.0)

    def loss(pixels):
        terms = dal(pixels, label, no_anchors(2, 8), mmd.linear, settings, jax.random.key(0))
        return terms.domain, terms

    gradient, terms = jax.grad(loss, has_aux=True)(pixels)
    assert terms.domain == 0 and terms.missed.pairs and not np.asarray(gradient).any()
    assert np.isfinite(np.asarray(terms.universum))


def test_no_pixel_without_a_class_is_no_universum():
    """An anchor of the Universum that is far from everything gets the farthest pixel, or none at all."""
    rng = np.random.default_rng(0)
    pixels = jnp.asarray(np.repeat(rng.random((1, 2, 8)) + 1, 8, axis=1), jnp.float32)
    settings = dawsol_keys(universum_weight=1.0)
    anchors = no_anchors(1, 8)._replace(of_class=pixels[:, 0], visits=jnp.ones(1, jnp.int32), photos=jnp.int32(1))
    anchors = anchors._replace(universum=jnp.full(8, -50.0))

    def loss(pixels):
        terms = dal(pixels, jnp.zeros(1, jnp.int32), anchors, mmd.linear, settings, jax.random.key(0))
        return terms.universum, terms

    gradient, terms = jax.grad(loss, has_aux=True)(pixels)
    share = float(terms.logs["share_universum"])
    assert np.isfinite(np.asarray(gradient)).all() and bool(terms.missed.universum) == (share == 0)


def test_the_domain_classifier_has_its_own_rate_that_stays():
    setup = experiment(domain_loss="dann")
    config = setup.config.copy_and_resolve_references().unlock()
    config.update(decay_every=1.0, decay_early=0.0, learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)
    optimiser, params = sgd(config, 3.0, setup.method.group), setup.variables["params"]
    state, ones = optimiser.init(params), jax.tree.map(jnp.ones_like, params)
    for _ in range(4):
        updates, state = optimiser.update(ones, state, params)
    assert float(updates["domain"]["domain"]["bias"][0]) == pytest.approx(-1.0)
    assert float(updates["head"]["fc"]["bias"][0]) == pytest.approx(-0.1)


def test_predictions_are_the_methods_and_tell_the_sets():
    setup = experiment()
    batch = first_batch(setup)
    said = setup.method.predict(setup.variables, batch)
    assert said.assignment is None
    plain = tiny.experiment("train", method="cam", arch_kwargs=tiny.NARROW["resnet50"] | dict(stride=16))
    np.testing.assert_array_equal(said.map, plain.method.predict(plain.variables, batch).map)
    told = setup.method.predict(setup.variables | {"memory": setup.method.memory}, batch)
    assert told.assignment.shape == told.map.shape and set(np.unique(told.assignment)) <= {0, 1, 2}


@pytest.mark.parametrize(
    "method, changes, told",
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
def test_what_does_not_fit_is_told(method, changes, told):
    with pytest.raises(InputError, match=told):
        found = dawsol_keys()
        found.update(changes)
        tiny.experiment("train", method=method, arch_kwargs=tiny.NARROW["resnet50"] | dict(stride=16), dawsol=found)


def test_pixels_are_not_asked_what_only_layers_after_the_map_can_tell():
    config = tiny.config("train", "vgg_gap", method="grad_cam", dawsol=dawsol_keys()).unlock()
    config.arch = "vgg16"
    with pytest.raises(InputError, match="method grad_cam: vgg16"):
        dawsol(METHODS["grad_cam"](config, tiny.CLASSES), config, tiny.CLASSES)
