import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsol_jax.backbones.gradients import store_gradient


def gradient(through, layers=12):
    """The gradient of layers that join their outputs to their inputs, each of which is handed to `through`."""

    def total(x):
        for _ in range(layers):
            x = through(x)
            kernel = jnp.linspace(-1, 1, x.shape[-1] * 4).reshape(-1, 4)
            x = jnp.concatenate([x, jax.nn.relu(x * 1.5) @ kernel / x.shape[-1]], axis=-1)
        return (x**2).sum()

    return jax.jit(jax.grad(total))


X = np.random.default_rng(0).normal(size=(8, 6, 5, 4)).astype(np.float32)


def test_features_and_their_gradient_stay_the_same():
    np.testing.assert_array_equal(store_gradient(X), X)
    np.testing.assert_allclose(gradient(store_gradient)(X), gradient(lambda x: x)(X), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("optimised")
def test_gradient_is_computed_once_on_a_cpu():
    costs = [gradient(f).lower(X).compile().cost_analysis()["flops"] for f in (store_gradient, lambda x: x)]
    assert costs[0] < 0.5 * costs[1]


def test_gradient_is_stored_on_a_cpu_alone():
    traced = gradient(store_gradient).trace(X)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}
    assert {p: "stablehlo.while" in t for p, t in text.items()} == dict(cpu=True, cuda=False, tpu=False)


def test_each_device_keeps_to_its_own_photos():
    spread = jax.device_put(X, NamedSharding(Mesh(jax.devices(), "batch"), PartitionSpec("batch")))
    compiled = gradient(store_gradient).lower(spread).compile()
    np.testing.assert_allclose(compiled(spread), gradient(store_gradient)(X), rtol=1e-5, atol=1e-6)
    assert "all-gather" not in compiled.as_text()
