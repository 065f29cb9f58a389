"""One step: the same on one device and on eight, and nothing changes but what should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

from wsol_jax.methods.method import total_loss
from wsol_jax.training import devices
from wsol_jax.training.optimiser import sgd
from wsol_jax.training.step import TrainState, initial_state, make_step

STEPS = 5


def started(experiment, devices_used=1):
    """The step function, the state before the first step, and the batches, on so many devices."""
    method, mesh = experiment.method, tiny.mesh(devices_used)
    optimiser = sgd(experiment.config, 3.0, method.group)
    step = make_step(method, optimiser, seed=0, total_steps=STEPS, mesh=mesh)
    state = devices.replicate(initial_state(experiment.variables, method.memory, optimiser), mesh)
    return step, state, devices.prefetch(experiment.batches(range(STEPS), mesh), mesh)


def trained(experiment, devices_used=1, steps=STEPS) -> tuple[TrainState, list[float], list]:
    """The last state on the host, the loss of every step, and the batches."""
    step, state, batches = started(experiment, devices_used)
    losses, seen = [], []
    for _, batch in zip(range(steps), batches, strict=False):
        seen.append(jax.tree.map(devices.fetch, batch))
        state, logs = step(state, batch)
        losses.append(float(logs["loss"]))
    return jax.tree.map(np.asarray, state), losses, seen


@pytest.mark.parametrize(
    "stage, arch", [("localizer", "resnet50"), ("classifier", "vgg_gap"), ("classifier", "efficientnet_lite0")]
)
def test_one_device_is_as_good_as_eight(stage, arch):
    experiment = tiny.experiment(stage, arch, learning_rate=1e-3)
    one, eight = (trained(experiment, devices_used) for devices_used in (1, 8))
    for a, b in zip(one[2], eight[2], strict=True):
        tiny.assert_trees_equal(a, b)
    np.testing.assert_allclose(one[1], eight[1], rtol=1e-5, atol=1e-5)
    assert len(set(one[1])) == STEPS
    for a, b in zip(jax.tree.leaves(one[0]), jax.tree.leaves(eight[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_step_is_the_gradient_step_by_hand_and_uses_up_its_state():
    experiment = tiny.experiment("classifier", "vgg_gap", momentum=0.0, weight_decay=0.0, learning_rate=0.1)
    step, state, batches = started(experiment)
    before, batch = jax.tree.map(np.array, state), next(batches)

    def loss(params, key):
        variables = {"params": params, "batch_stats": {}}
        return total_loss(experiment.method, variables, batch, (), key, jnp.zeros(()))[0]

    gradient = jax.jit(jax.grad(loss))(before.params, jax.random.key(0))
    after, _ = step(state, batch)
    assert after.step == 1
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    old, new, slope = (flatten_dict(tree) for tree in (before.params, after.params, gradient))
    for path, value in old.items():
        rate = 0.2 if path[0] == "head" else 0.1
        np.testing.assert_allclose(new[path], value - rate * slope[path], rtol=1e-5, atol=1e-6)


def test_the_key_of_a_step_comes_from_seed_and_step():
    experiment = tiny.experiment("classifier", "efficientnet_lite0", learning_rate=0.0, weight_decay=0.0)
    step, state, batches = started(experiment)
    method, batch = experiment.method, next(batches)

    def losses(params, batch_stats, key):
        variables = {"params": params, "batch_stats": batch_stats}
        return total_loss(method, variables, batch, (), key, jnp.zeros(()))[0]

    by_hand = jax.jit(losses)
    for number in range(3):
        params, batch_stats = (jax.tree.map(np.array, tree) for tree in (state.params, state.batch_stats))
        expected, other = (by_hand(params, batch_stats, jax.random.fold_in(jax.random.key(0), n)) for n in (number, 9))
        state, logs = step(state, batch)
        np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
        assert abs(float(logs["loss"]) - float(other)) > 1e-4  # dropout draws otherwise under another key


def test_bfloat16_computes_finite_numbers_and_keeps_float32_parameters():
    state, losses, _ = trained(tiny.experiment(dtype="bfloat16"), steps=3)
    assert np.isfinite(losses).all() and losses[-1] != losses[0]
    assert {leaf.dtype.name for leaf in jax.tree.leaves((state.params, state.batch_stats))} == {"float32"}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_frozen_stages_stay_as_they_were():
    experiment = tiny.experiment(freeze="layer2")
    state, _, _ = trained(experiment, steps=3)
    before, after = (flatten_dict(tree) for tree in (experiment.variables, state._asdict()))
    for path in flatten_dict({k: experiment.variables[k] for k in ("params", "batch_stats")}):
        frozen = path[1] == "backbone" and path[2].startswith(("conv1", "bn1", "layer1", "layer2"))
        assert np.array_equal(after[path], before[path]) == frozen, path
