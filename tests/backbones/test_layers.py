import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from wsol_jax.backbones import layers

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
}


def both(case, dtype="float32"):
    """The same convolution by `layers` and by lax, and its arguments."""
    shape, kernel, groups, stride, padding = CASES[case]
    x, k = (jax.random.normal(jax.random.key(i), s, dtype) for i, s in enumerate([(2, *shape), kernel]))

    def by(convolve):
        options = dict(dimension_numbers=NHWC, feature_group_count=groups)
        return lambda x, k: convolve(x, k, (stride, stride), padding, **options)

    return by(layers.convolution), by(lax.conv_general_dilated), (x, k)


def gradient(f):
    """Of the sum of cubes, with respect to both arguments."""
    return jax.grad(lambda x, k: (f(x, k) ** 3).sum(), (0, 1))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-13)])
@pytest.mark.parametrize("case", CASES)
def test_convolution_and_its_gradients_are_those_of_lax(case, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        ours, theirs, arguments = both(case, dtype)
        results = [(jax.jit(f)(*arguments), *jax.jit(gradient(f))(*arguments)) for f in (ours, theirs)]
    for mine, expected in zip(*results, strict=True):
        assert mine.dtype == dtype
        np.testing.assert_allclose(mine, expected, rtol=0, atol=tolerance * np.abs(np.asarray(expected)).max())


def test_dilated_pointwise_convolution_is_left_to_lax():
    x, k = jnp.ones((1, 4, 4, 2)), jnp.ones((1, 1, 2, 3))
    assert layers.convolution(x, k, (1, 1), "VALID", lhs_dilation=(2, 2), dimension_numbers=NHWC).shape == (1, 7, 7, 3)


@pytest.mark.parametrize("case", ["pointwise, stride 2", "depthwise"])
def test_form_of_a_convolution_is_chosen_for_the_device_it_is_lowered_for(case):
    ours, _, arguments = both(case)
    traced = jax.jit(ours).trace(*arguments)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}
    assert {p: "stablehlo.convolution" in t for p, t in text.items()} == dict(cpu=False, cuda=True, tpu=True)


def test_weight_gradient_in_groups_is_that_of_lax_but_on_a_cpu():
    ours, _, arguments = both("grouped")
    traced = jax.jit(gradient(ours)).trace(*arguments)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "cuda", "tpu")}
    counts = {p: t.count("stablehlo.convolution") for p, t in text.items()}
    assert counts == dict(cpu=2, cuda=3, tpu=3)  # the convolution, its gradient by the features, that by the kernel


def test_preprocess_is_on_the_scale_of_pixels():
    image = np.array([0, 127, 255], np.uint8).reshape(1, 1, 1, 3)
    out = layers.preprocess(image, layers.Preprocessing(mean=(0.0, 127.0, 127.0), std=(1.0, 128.0, 128.0)))
    np.testing.assert_allclose(out.ravel(), [0, 0, 1])
    torchvision = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(layers.preprocess(image, layers.IMAGENET), torchvision, rtol=1e-5, atol=1e-5)
    assert layers.preprocess(image, layers.IMAGENET, "bfloat16").dtype == jnp.bfloat16


def test_batch_norm_keeps_a_tenth_of_each_batch_and_centres_before_it_squares():
    norm = layers.batch_norm("bn", True, "float32")
    x = 4096 + np.random.default_rng(0).normal(size=(8, 5, 5, 1)).astype(np.float32) / 64
    empty = {"params": {"scale": np.ones(1, np.float32), "bias": np.zeros(1, np.float32)}}
    empty["batch_stats"] = {"mean": np.zeros(1, np.float32), "var": np.ones(1, np.float32)}
    out, changed = norm.apply(empty, x, mutable=["batch_stats"])
    expected = (x - x.mean(dtype=float)) / np.sqrt(x.var(dtype=float) + 1e-5)
    np.testing.assert_allclose(out, expected, atol=0.05)
    np.testing.assert_allclose(changed["batch_stats"]["mean"], 0.1 * x.mean(dtype=float), rtol=1e-6)
    np.testing.assert_allclose(changed["batch_stats"]["var"], 0.9 + 0.1 * x.var(dtype=float), rtol=1e-6)
