import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wsol_jax import devices
from wsol_jax.backbones.convolutions import convolution, max_pool

NHWC = ("NHWC", "HWIO", "NHWC")

CASES = {  # input [h, w, d], kernel, groups, stride, padding
    "pointwise": ((6, 7, 4), (1, 1, 4, 8), 1, 1, "SAME"),
    "pointwise, stride 2": ((7, 8, 4), (1, 1, 4, 8), 1, 2, [(0, 0), (0, 0)]),
    "pointwise, padded": ((6, 7, 4), (1, 1, 4, 8), 1, 1, [(1, 1), (1, 1)]),
    "depthwise": ((6, 7, 4), (3, 3, 1, 4), 4, 1, "SAME"),
    "depthwise, stride 2": ((8, 9, 4), (5, 5, 1, 4), 4, 2, "SAME"),
    "depthwise, unpadded": ((8, 9, 4), (3, 2, 1, 4), 4, 2, "VALID"),
    "depthwise, widening": ((6, 6, 4), (3, 3, 1, 8), 4, 1, "SAME"),
    "grouped": ((6, 6, 4), (3, 3, 2, 4), 2, 1, "SAME"),
    "grouped, stride 2": ((7, 10, 6), (3, 3, 2, 9), 3, 2, [(1, 1), (1, 1)]),
    "grouped, even side, stride 2": ((8, 5, 6), (3, 3, 3, 6), 2, 2, "SAME"),
    "grouped, unpadded": ((9, 8, 4), (2, 3, 2, 4), 2, 3, "VALID"),
    "grouped, pointwise": ((5, 7, 4), (1, 1, 2, 6), 2, 2, "SAME"),
    "usual": ((6, 6, 4), (3, 3, 4, 5), 1, 2, [(1, 1), (1, 1)]),
    "unpadded": ((9, 8, 4), (3, 2, 4, 5), 1, 1, "VALID"),
    "wide": ((6, 5, 32), (3, 3, 32, 40), 1, 1, "SAME"),
    "wide, stride 2": ((7, 6, 32), (3, 3, 32, 5), 1, 2, [(1, 1), (1, 1)]),
    "wide, unpadded": ((9, 8, 32), (3, 2, 32, 32), 1, 1, "VALID"),
    "narrowing": ((6, 5, 32), (3, 4, 32, 5), 1, 1, "SAME"),
    "narrowing, unpadded": ((9, 8, 32), (3, 2, 32, 5), 1, 1, "VALID"),
    "narrowing, padded by more than the kernel": ((5, 4, 32), (3, 2, 32, 5), 1, 1, [(3, 1), (0, 2)]),
    "large, unpadded": ((130, 132, 2), (3, 3, 2, 64), 1, 1, "VALID"),
    "large": ((130, 131, 3), (3, 3, 3, 64), 1, 1, "SAME"),
    "wide, more pixels": ((64, 65, 64), (3, 3, 64, 64), 1, 1, "SAME"),
    "large, stride 2": ((260, 262, 3), (7, 7, 3, 64), 1, 2, [(3, 3), (3, 3)]),
}

SLOW = ("wide, more pixels", "large, stride 2")
"""lax needs 20 seconds for each in float64."""


def both(case, dtype="float32"):
    """The same convolution by `convolutions` and by lax, and its arguments."""
    shape, kernel, groups, stride, padding = CASES[case]
    x, k = (jax.random.normal(jax.random.key(i), s, dtype) for i, s in enumerate([(2, *shape), kernel]))

    def by(convolve):
        options = dict(dimension_numbers=NHWC, feature_group_count=groups)
        return lambda x, k: convolve(x, k, (stride, stride), padding, **options)

    return by(convolution), by(lax.conv_general_dilated), (x, k)


def gradient(f):
    """The gradient of the sum of cubes, with respect to both arguments."""
    return jax.grad(lambda x, k: (f(x, k) ** 3).sum(), (0, 1))


@pytest.mark.parametrize(
    ("case", "dtype", "tolerance"),
    [
        *((case, "float32", 1e-5) for case in CASES),
        *((case, "float64", 1e-13) for case in CASES if case not in SLOW),
    ],
)
def test_convolution_and_its_gradients_are_those_of_lax(case, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        ours, theirs, arguments = both(case, dtype)
        results = [(jax.jit(f)(*arguments), *jax.jit(gradient(f))(*arguments)) for f in (ours, theirs)]
    for mine, expected in zip(*results, strict=True):
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, expected, rtol=0, atol=tolerance * np.abs(np.asarray(expected)).max())


def test_dilated_pointwise_convolution_is_left_to_lax():
    x, k = jnp.ones((1, 4, 4, 2)), jnp.ones((1, 1, 2, 3))
    assert convolution(x, k, (1, 1), "VALID", lhs_dilation=(2, 2), dimension_numbers=NHWC).shape == (1, 7, 7, 3)


@pytest.mark.parametrize(
    "case, of_weights",
    [("usual", 1), ("wide", 0), ("wide, stride 2", 0), ("narrowing", 0), ("grouped", 0), ("large", 4)],
)
def test_weight_gradient_on_a_cpu_is_products_or_a_sum_over_strips(case, of_weights):
    ours, _, arguments = both(case)
    traced = jax.jit(gradient(ours)).trace(*arguments)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}
    counts = {p: t.count("stablehlo.convolution") for p, t in text.items()}
    assert counts == dict(cpu=2 + of_weights, cuda=3, tpu=3)  # the convolution, its gradients by features and kernel


@pytest.mark.parametrize("case, maps", [("large", 0), ("wide, more pixels", 2)])
def test_weight_gradient_keeps_no_copy_of_the_map_for_each_place_in_the_kernel(case, maps):
    ours, theirs, arguments = both(case)
    needed = [jax.jit(gradient(f)).lower(*arguments).compile().memory_analysis() for f in (ours, theirs)]
    mine, expected = (n.temp_size_in_bytes for n in needed)
    assert mine < 1.1 * expected + maps * arguments[0].nbytes  # in the loop one padded, one shifted


@pytest.mark.parametrize("case", ["wide", "wide, stride 2", "narrowing"])
def test_weight_gradient_turns_no_map_in_its_loop(case):
    ours, _, arguments = both(case)
    compiled = jax.jit(gradient(ours)).lower(*arguments).compile().as_text().splitlines()
    in_loop = [line for line in compiled if "while/body" in line]
    assert any(" dot(" in line for line in in_loop)
    assert not [line for line in in_loop if " transpose(" in line]


@pytest.mark.parametrize("case", ["pointwise, stride 2", "depthwise"])
def test_form_of_a_convolution_is_chosen_for_the_device_it_is_lowered_for(case):
    ours, _, arguments = both(case)
    traced = jax.jit(ours).trace(*arguments)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}
    assert {p: "stablehlo.convolution" in t for p, t in text.items()} == dict(cpu=False, cuda=True, tpu=True)


@pytest.mark.parametrize("case", ["pointwise, stride 2", "depthwise", "usual", "wide", "narrowing", "large"])
def test_convolution_of_a_batch_spread_over_devices_is_that_of_one_device(case):
    ours, _, (x, k) = both(case)
    x = jnp.concatenate([x] * 4)
    mesh = Mesh(jax.devices(), "batch")
    spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("batch")))
    expected = jax.jit(ours)(x, k)
    np.testing.assert_allclose(jax.jit(ours)(spread, k), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    compiled = jax.jit(gradient(ours)).lower(spread, k).compile()
    for mine, expected in zip(compiled(spread, k), jax.jit(gradient(ours))(x, k), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-5 * np.abs(np.asarray(expected)).max())
    assert "all-gather" not in compiled.as_text()  # each device keeps to its own photos


@pytest.mark.parametrize("case", ["depthwise", "wide", "wide, stride 2", "narrowing", "large"])
def test_devices_add_their_weight_gradients_once_and_in_no_loop(case):
    """With other processes, XLA's CPU devices mix up the sums of a loop with those of other operations."""
    ours, _, (x, k) = both(case)
    x, mesh = jnp.concatenate([x] * 4), tiny.mesh(8)

    def gradients(x, k):
        with devices.across(mesh):
            return gradient(ours)(x, k)

    spread = jax.device_put(x, devices.sharded(mesh)), devices.replicate(k, mesh)
    compiled = jax.jit(gradients).lower(*spread).compile()
    for mine, expected in zip(compiled(*spread), jax.jit(gradient(ours))(x, k), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-5 * np.abs(np.asarray(expected)).max())
    others, entry = compiled.as_text().split("\nENTRY ")
    assert "all-reduce(" not in others and entry.count("all-reduce(") == 1


POOLS = {  # input [h, w], window, stride, padding
    "VGG's": ((8, 6), (2, 2), (2, 2), "VALID"),
    "ResNet's": ((8, 7), (3, 3), (2, 2), ((1, 1), (1, 1))),
    "Inception's": ((9, 8), (3, 3), (2, 2), "VALID"),
    "ACoL's": ((5, 6), (3, 3), (1, 1), "SAME"),
    "oblong": ((9, 8), (2, 3), (3, 1), "SAME"),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("case", POOLS)
def test_max_pool_and_its_gradient_are_those_of_flax(case, dtype):
    shape, *options = POOLS[case]
    with jax.enable_x64(dtype == "float64"):
        x = jax.random.randint(jax.random.key(0), (2, *shape, 3), -2, 2).astype(dtype)  # many are equal
        ours, theirs = (lambda x, f=f: f(x, *options) for f in (max_pool, nn.max_pool))
        pooled, pull = jax.vjp(jax.jit(ours), x)
        expected, expected_pull = jax.vjp(jax.jit(theirs), x)
        weights = jnp.arange(expected.size, dtype=dtype).reshape(expected.shape) % 8
        assert pooled.dtype == dtype
        np.testing.assert_array_equal(pooled, expected)
        np.testing.assert_array_equal(*pull(weights), *expected_pull(weights))


def test_max_pool_does_not_hide_nan():
    for position in range(4):
        x = jnp.zeros(4).at[position].set(jnp.nan).reshape(1, 2, 2, 1)
        assert jnp.isnan(max_pool(x, (2, 2))).all()


def test_max_pool_over_devices_keeps_to_each_ones_photos():
    x = jax.random.normal(jax.random.key(0), (16, 6, 6, 2))
    spread = jax.device_put(x, NamedSharding(Mesh(jax.devices(), "batch"), PartitionSpec("batch")))
    pooled = jax.jit(lambda x: max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1))))
    np.testing.assert_array_equal(pooled(spread), pooled(x))
    assert "all-gather" not in pooled.lower(spread).compile().as_text()


def test_form_of_max_pool_is_chosen_for_the_device_it_is_lowered_for():
    traced = jax.jit(lambda x: max_pool(x, (2, 2), (2, 2))).trace(jnp.ones((1, 4, 4, 1)))
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}
    assert {p: "reduce_window" in t for p, t in text.items()} == dict(cpu=False, cuda=True, tpu=True)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_padding_by_name_takes_account_of_dilation(padding):
    x, k = jnp.ones((1, 9, 8, 2)), jnp.ones((3, 3, 2, 3))
    options = dict(rhs_dilation=(2, 2), dimension_numbers=NHWC)
    np.testing.assert_array_equal(
        convolution(x, k, (2, 2), padding, **options), lax.conv_general_dilated(x, k, (2, 2), padding, **options)
    )
