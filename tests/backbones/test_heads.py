import jax
import numpy as np
import pytest

from wsol_jax.backbones.heads import Box, Classifier, FullyConnected, GlobalPool, adaptive_average_pool


def drawn(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [(14, 14), (7, 9), (3, 10), (1, 1)])
def test_adaptive_pool_averages_from_the_floor_to_the_ceiling(size):
    x = drawn(2, *size, 3)
    h, w = size

    def cell(i, j):
        rows = slice(int(np.floor(i * h / 7)), int(np.ceil((i + 1) * h / 7)))
        columns = slice(int(np.floor(j * w / 7)), int(np.ceil((j + 1) * w / 7)))
        return x[:, rows, columns].mean((1, 2))

    expected = np.stack([np.stack([cell(i, j) for j in range(7)], 1) for i in range(7)], 1)
    np.testing.assert_allclose(adaptive_average_pool(x, 7), expected, atol=1e-6)


def test_fully_connected_flattens_channels_first():
    x = np.zeros((1, 7, 7, 2), np.float32)
    x[0, 2, 3, 1] = 5
    neck = FullyConnected(width=2 * 49)
    identity = {"kernel": np.eye(98, dtype=np.float32), "bias": np.zeros(98, np.float32)}
    out = neck.apply({"params": {name: identity for name in neck.layers}}, x, False)
    assert np.flatnonzero(out[0]).tolist() == [1 * 49 + 2 * 7 + 3]


def test_necks_drop_only_in_training():
    x = np.ones((4, 7, 7, 64), np.float32)
    neck = GlobalPool(dropout=0.25)
    np.testing.assert_array_equal(neck.apply({}, x, False), 1)
    dropped = neck.apply({}, x, True, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert 0.1 < (dropped == 0).mean() < 0.4


def test_box_reaches_both_ends_and_stays_inside():
    head = Box("fc", hidden=8)
    x = drawn(64, 5)
    shapes = jax.tree.map(lambda s: 4 * drawn(*s.shape), jax.eval_shape(head.init, jax.random.key(0), x))
    box = np.asarray(head.apply(shapes, x))
    assert box.shape == (64, 4) and box.min() < 0.01 and box.max() > 0.99 and (abs(box - 0.5) <= 0.5).all()


@pytest.mark.parametrize("head", [Box("fc"), Classifier(3, "fc")])
def test_heads_answer_in_float32(head):
    x = drawn(2, 5).astype("bfloat16")
    variables = jax.eval_shape(head.init, jax.random.key(0), x)
    assert jax.eval_shape(head.apply, variables, x).dtype == np.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
