"""One training step: a pure function of state and batch, compiled once, for a batch spread over the devices."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from wsol_jax import devices
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import BatchStats, Logs, Memory, Method, Variables, total_loss

GRADIENT_NORM = "gradient_norm"
"""The entry that a step adds to the logs of its method."""


class TrainState(NamedTuple):
    """Everything that training changes; the content of a checkpoint.

    Attributes:
        step: int32 scalar, the number of steps that are done.
        params: parameters, nested dicts.
        batch_stats: running means and variances, nested dicts.
        memory: of the method.
        opt_state: of the optimiser.
    """

    step: jax.Array
    params: dict[str, Any]
    batch_stats: BatchStats
    memory: Memory
    opt_state: optax.OptState


def initial_state(variables: Variables, memory: Memory, optimiser: optax.GradientTransformation) -> TrainState:
    """Return the state before the first step.

    Args:
        variables: the initial parameters and batch statistics.
        memory: the initial memory of the method.
        optimiser: of `make_optimiser`.
    """
    params, batch_stats = variables["params"], variables["batch_stats"]
    return TrainState(jnp.zeros((), jnp.int32), params, batch_stats, memory, optimiser.init(params))


def variables_of(state: TrainState) -> Variables:
    """Return the network of a state, 'params' and 'batch_stats', and 'memory' if its method has one."""
    memory = {"memory": state.memory} if state.memory else {}
    return {"params": state.params, "batch_stats": state.batch_stats} | memory


def make_step(
    method: Method, optimiser: optax.GradientTransformation, seed: int, total_steps: int, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, Logs]]:
    """Return the compiled training step, (state, batch) -> (next state, logs), which donates the state given to it.

    The key of a step is fold_in(seed, step). The logs are the method's, and the norm of the gradient of all parameters.

    Args:
        method: the method to train.
        optimiser: of `make_optimiser`.
        seed: of the run.
        total_steps: of the training, for the method's progress.
        mesh: the devices.
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Logs]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss(params: dict[str, Any]) -> tuple[jax.Array, tuple[BatchStats, Memory, Logs]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            return total_loss(method, variables, batch, state.memory, key, state.step / total_steps)

        with devices.across(mesh):
            gradients, (batch_stats, memory, logs) = jax.grad(loss, has_aux=True)(state.params)
        updates, opt_state = optimiser.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, batch_stats, memory, opt_state), logs | {
            GRADIENT_NORM: optax.tree.norm(gradients)
        }

    return jax.jit(step, donate_argnums=0, out_shardings=devices.replicated(mesh))
