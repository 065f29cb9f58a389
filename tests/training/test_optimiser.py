"""SGD, against PyTorch's recursion written out by hand."""

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from wsol_jax.stages.training import defaults as training
from wsol_jax.training.optimiser import learning_rate, make_optimiser, same_rates

SHAPES = {"backbone": {"conv1": (3, 2), "layer1": (4,)}, "head": {"fc": (2, 3)}}
GROUPS = {"conv1": "frozen", "layer1": "base", "fc": "new"}


def config(**changes) -> ConfigDict:
    return training(learning_rate=0.1, momentum=0.9, weight_decay=0.05, **changes)


def drawn(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    return {
        top: {name: rng.normal(size=shape).astype(np.float32) for name, shape in layers.items()}
        for top, layers in SHAPES.items()
    }


def torch_sgd(value: np.ndarray, gradients: list[np.ndarray], rates: list[float], keys: ConfigDict) -> np.ndarray:
    """torch.optim.SGD (dampening 0) as its documentation writes it, float64."""
    value, buffer = value.astype(np.float64), None
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient + keys.weight_decay * value
        buffer = gradient if buffer is None else keys.momentum * buffer + gradient
        value = value - rate * (gradient + keys.momentum * buffer if keys.nesterov else buffer)
    return value


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_five_steps_are_those_of_pytorch(nesterov, momentum):
    keys = config(nesterov=nesterov, new_rate=2.0, epochs=5.0, decay_every=1.5, decay_factor=10.0)
    keys.momentum = momentum
    # two steps an epoch: the rate falls after three steps
    optimiser = make_optimiser(keys, 2.0, lambda path: GROUPS[path[-1]])
    first = params = drawn(0)
    state = optimiser.init(params)
    gradients = [drawn(1 + step) for step in range(5)]
    for gradient in gradients:
        updates, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    rates = np.array([0.1, 0.1, 0.1, 0.01, 0.01])
    for top, name, multiple in [("backbone", "layer1", 1), ("head", "fc", 2)]:
        expected = torch_sgd(first[top][name], [g[top][name] for g in gradients], rates * multiple, keys)
        np.testing.assert_allclose(params[top][name], expected, rtol=2e-6, atol=1e-7)
    np.testing.assert_array_equal(params["backbone"]["conv1"], first["backbone"]["conv1"])


def test_weight_decay_reaches_all_but_the_frozen():
    optimiser = make_optimiser(config(new_rate=2.0), 1.0, lambda path: GROUPS[path[-1]])
    params = drawn(0)
    nothing = {top: {name: 0 * value for name, value in layers.items()} for top, layers in params.items()}
    updates, _ = optimiser.update(nothing, optimiser.init(params), params)
    np.testing.assert_allclose(updates["backbone"]["layer1"], -0.1 * 0.05 * params["backbone"]["layer1"], rtol=1e-6)
    np.testing.assert_allclose(updates["head"]["fc"], -0.2 * 0.05 * params["head"]["fc"], rtol=1e-6)
    assert not np.any(updates["backbone"]["conv1"])


def test_groups_depend_on_the_whole_path():
    paths = []
    make_optimiser(config(), 1.0, lambda path: paths.append(path) or "base").init(drawn(0))
    assert set(paths) == {("backbone", "conv1"), ("backbone", "layer1"), ("head", "fc")}


def rates(steps: int, steps_per_epoch: float, **changes) -> list[float]:
    schedule = learning_rate(config(**changes), steps_per_epoch)
    return [round(float(schedule(step)), 7) for step in range(steps)]


def test_a_constant_rate():
    assert rates(9, 2.0, epochs=4.5, decay_every=0.0) == [0.1] * 9


def test_the_rate_falls_after_every_so_many_epochs():
    assert rates(12, 2.0, epochs=6.0, decay_every=2.0) == [0.1] * 4 + [0.01] * 4 + [0.001] * 4
    assert rates(8, 2.0, epochs=4.0, decay_every=2.0, decay_factor=2.0) == [0.1] * 4 + [0.05] * 4


def test_epochs_may_hold_a_fraction_of_a_step():
    assert rates(11, 2.75, epochs=4.0, decay_every=2.0) == [0.1] * 6 + [0.01] * 5  # two epochs: 5.5 steps
    assert rates(6, 64 / 24, epochs=2.25, decay_every=2.25) == [0.1] * 6


def test_a_run_shorter_than_the_first_decay_keeps_its_rate():
    assert rates(3, 2.0, epochs=0.5, decay_every=10.0) == [0.1] * 3


def test_the_rate_of_poly_is_c2ams_and_zero_after_its_last_step():
    """A training may have a step more than its rates: of 10.2 there are eleven. optax's own is NaN there."""
    for steps in range(1, 60):
        rate = jax.jit(learning_rate(config(epochs=1.0, schedule="poly"), steps + 0.2))
        expected = [0.1 * (1 - step / steps) ** 0.9 for step in range(steps)] + [0.0]
        np.testing.assert_allclose(rate(np.arange(steps + 1)), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        (dict(decay_every=0.0), True),
        (dict(decay_every=1.0), True),  # a division after the second epoch is behind the steps
        (dict(decay_every=3.0), True),
        (dict(schedule="cosine"), False),
    ],
)
def test_rates_of_more_epochs(changes, same):
    was, now = (config(epochs=epochs, **changes) for epochs in (2.0, 6.0))
    assert same_rates(was, now, 10.0, 20) is same


def test_a_rate_that_is_divided_within_the_last_step_is_another():
    """2 epochs of 1.2 steps are 3 steps; with more epochs the rate is divided after 2.4, which is step 2."""
    was, now = (config(epochs=epochs, decay_every=2.0) for epochs in (2.0, 6.0))
    assert not same_rates(was, now, 1.2, 3)


def test_positive_weights_are_new_ones_held_at_zero_or_above():
    keys, params, gradient = config(optimiser="adamw"), drawn(0), drawn(1)

    def stepped(of_head: str) -> np.ndarray:
        optimiser = make_optimiser(keys, 1.0, lambda path: of_head if path[-1] == "fc" else "frozen", has_positive=True)
        updates, _ = optimiser.update(gradient, optimiser.init(params), params)
        return optax.apply_updates(params, updates)["head"]["fc"]

    new = stepped("new")
    assert (new < 0).any()
    np.testing.assert_allclose(stepped("positive"), np.maximum(new, 0), atol=1e-7)
