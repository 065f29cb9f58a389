"""One training step: a pure function of state and batch, compiled once, its batch spread over the devices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from wsol_jax import devices
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Logs, Method, Variables, total_loss


class TrainState(NamedTuple):
    """Everything that training changes; what a checkpoint holds.

    Attributes:
        step: int32 scalar, how many steps are done.
        params: parameters, nested dicts.
        batch_stats: running means and variances, nested dicts.
        memory: what the method remembers.
        opt_state: of the optimiser.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    memory: Any
    opt_state: Any


def initial_state(variables: Variables, memory: Any, optimiser: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    params, batch_stats = variables["params"], variables["batch_stats"]
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, memory, optimiser.init(params))


def make_step(
    method: Method, optimiser: optax.GradientTransformation, seed: int, total_steps: int, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
    """(state, batch) -> (state, logs); the state given is used up. The key of a step is fold_in(seed, step)."""

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            return total_loss(method, variables, batch, state.memory, key, state.step / total_steps)

        with devices.across(mesh):
            gradients, (batch_stats, memory, logs) = jax.grad(loss, has_aux=True)(state.params)
        updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, batch_stats, memory, opt_state), logs

    return jax.jit(step, donate_argnums=0, out_shardings=devices.replicated(mesh))
