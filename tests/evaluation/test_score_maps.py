"""Score maps: what is one and what is not, and the way from an activation map to one."""

import cv2
import numpy as np
import pytest

from wsol_jax.errors import InputError
from wsol_jax.evaluation.score_maps import checked, quantise, read, score_map, thresholds


def test_resized_as_opencv_and_stretched():
    activation = np.random.default_rng(0).normal(size=(7, 9))
    resized = cv2.resize(activation, (224, 200), interpolation=cv2.INTER_CUBIC)
    found = score_map(activation, (224, 200))
    assert found.shape == (200, 224)
    resized -= resized.min()
    np.testing.assert_array_equal(found, resized / resized.max())
    assert (found.min(), found.max()) == (0, 1)


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_constant_or_nan_is_zeros(value):
    np.testing.assert_array_equal(score_map(np.full((7, 7), value), (14, 14)), np.zeros((14, 14)))


def test_quantised_by_its_floor():
    np.testing.assert_array_equal(quantise(np.array([[0, 0.999999, 1, 0.5, 1 / 255]])), [[0, 254, 255, 127, 1]])


def test_thresholds_are_the_published_ones():
    assert len(thresholds()) == 1000
    assert thresholds(0.01)[[0, 1, 99]].tolist() == [0, 0.01, 0.99]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((3, 3, 1)), "float64 [3, 3, 1], expected floats"),
        (np.zeros((0, 3)), "expected floats [height, width]"),
        (np.zeros((3, 3), np.uint8), "uint8 [3, 3], expected floats"),
        (np.full((3, 3), np.nan), "it has NaN, expected values in [0, 1]"),
        (np.array([[0.0, 1.5]]), "it ranges from 0 to 1.5"),
        (np.array([[-0.5, 1.0]]), "it ranges from -0.5 to 1"),
        (np.zeros((4, 3)), "it is 3 x 4 pixels wide and high, expected 3 x 3"),
    ],
)
def test_what_is_no_score_map_is_named(bad, words):
    size = (3, 3) if bad.shape == (4, 3) else None
    with pytest.raises(InputError) as error:
        checked("c0/a.jpg", bad, size)
    assert str(error.value).startswith("score map of c0/a.jpg: ") and words in str(error.value)


def test_single_precision_becomes_double_before_it_is_quantised():
    assert checked("", np.full((1, 1), 0.1, np.float32)).dtype == np.float64


def test_read(tmp_path):
    (tmp_path / "maps" / "c0").mkdir(parents=True)
    np.save(tmp_path / "maps" / "c0" / "a.jpg.npy", np.eye(3))
    np.save(tmp_path / "secret.npy", np.eye(3))
    np.save(tmp_path / "maps" / "objects.npy", np.array([[{}]]), allow_pickle=True)
    np.testing.assert_array_equal(read(tmp_path / "maps", "c0/a.jpg", (3, 3)), np.eye(3))
    for name in ("c0/missing.jpg", "../secret", "objects"):
        with pytest.raises(InputError, match=name):
            read(tmp_path / "maps", name)
