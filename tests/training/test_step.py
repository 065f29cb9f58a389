"""One step: the same on one device and on eight, and frozen stages stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

from wsol_jax import devices
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Method, Outputs, total_loss, unperturbed
from wsol_jax.training.optimiser import make_optimiser
from wsol_jax.training.step import TrainState, initial_state, make_step

STEPS = 5


def started(experiment, devices_used=1):
    """The step function, the state before the first step, and the batches, on so many devices."""
    method, mesh = experiment.method, tiny.mesh(devices_used)
    optimiser = make_optimiser(experiment.config, 3.0, method.group)
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


@pytest.mark.parametrize("stage, arch", [("localizer", "resnet50"), ("classifier", "vgg_gap")])
def test_one_device_is_as_good_as_eight(stage, arch):
    """Up to rounding: at a higher rate a ReLU that changes side by rounding soon shows in the loss."""
    experiment = tiny.experiment(stage, arch, learning_rate=1e-4)
    one, eight = (trained(experiment, devices_used) for devices_used in (1, 8))
    for a, b in zip(one[2], eight[2], strict=True):
        tiny.assert_trees_equal(a, b)
    np.testing.assert_allclose(one[1], eight[1], rtol=1e-5)
    assert len(set(one[1])) == STEPS
    for a, b in zip(jax.tree.leaves(one[0]), jax.tree.leaves(eight[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def drawing() -> Method:
    """A method without a network: the loss is 2 w.w, and the logs repeat its arguments."""

    def network(variables, image, label, key, train):
        w = variables["params"]["head"]["w"]
        return Outputs({}, {"w": w}, {}), {"seen": variables["batch_stats"]["seen"] + 1}

    def objective(outputs, label, batch, memory, key, progress):
        loss = 2 * jnp.square(outputs.logits["w"]).sum()
        return loss, memory + 10, {"draw": jax.random.uniform(key), "progress": progress}

    return Method(None, lambda image: image, unperturbed, network, objective, 0, None, lambda path: "base")


def test_a_step_by_hand():
    method, mesh = drawing(), tiny.mesh(8)
    optimiser = make_optimiser(tiny.config(momentum=0.0, weight_decay=0.0, learning_rate=0.1), 3.0, method.group)
    step = make_step(method, optimiser, seed=7, total_steps=4, mesh=mesh)
    w = np.array([1.0, -2.0, 0.5], np.float32)
    start = initial_state({"params": {"head": {"w": w}}, "batch_stats": {"seen": 0}}, np.int32(0), optimiser)
    state = devices.replicate(start, mesh)
    batch = next(tiny.experiment(arch="vgg_gap").batches(range(1), mesh))
    for number in range(4):
        given = state
        state, logs = step(state, devices.put(batch, mesh))
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given))
        np.testing.assert_allclose(logs["loss"], 2 * np.square(w).sum(), rtol=1e-6)
        w = w - 0.1 * 4 * w
        np.testing.assert_allclose(state.params["head"]["w"], w, rtol=1e-6)
        assert (state.step, state.memory, state.batch_stats["seen"]) == (number + 1, 10 * (number + 1), number + 1)
        assert logs["progress"] == number / 4
        key = jax.random.fold_in(jax.random.key(7), number)
        np.testing.assert_array_equal(logs["draw"], drawn_by_objective(method, batch, key))


def drawn_by_objective(method: Method, batch: Batch, key: jax.Array) -> jax.Array:
    variables = {"params": {"head": {"w": jnp.zeros(3)}}, "batch_stats": {"seen": 0}}
    _, (_, _, logs) = total_loss(method, variables, batch, 0, key, jnp.zeros(()))
    return logs["draw"]


def test_bfloat16_computes_finite_numbers_and_keeps_float32_parameters():
    state, losses, _ = trained(tiny.experiment(arch="vgg_gap", dtype="bfloat16", size=32), steps=2)
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
