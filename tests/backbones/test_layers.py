import jax.numpy as jnp
import numpy as np

from wsol_jax.backbones import layers


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
