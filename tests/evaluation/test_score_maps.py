"""Score maps: from an activation map, from a file, and arrays that are none."""

import cv2
import numpy as np
import pytest

from wsol_jax.errors import InputError
from wsol_jax.evaluation.score_maps import checked, quantise, read, score_map, thresholds


def test_resized_as_opencv_and_stretched():
    activation = np.random.default_rng(0).normal(size=(7, 9))
    resized = cv2.resize(activation, (224, 200), interpolation=cv2.INTER_CUBIC)
    stretched = score_map(activation, (224, 200))
    assert stretched.shape == (200, 224)
    resized -= resized.min()
    np.testing.assert_array_equal(stretched, resized / resized.max())
    assert (stretched.min(), stretched.max()) == (0, 1)


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
        (np.array([[-0.5, 1.0]]), "it ranges from -0.5 to 1, expected"),
        (np.array([[0.5, 1.000002]]), "it ranges from 0.5 to 1.000002, expected"),
        (np.array([[-2e-6, 0.1]], np.float32), "it ranges from -2e-06 to 0.1, expected"),
        (np.array([[np.inf, 0.0]]), "it ranges from 0 to inf"),
        (np.zeros((4, 3)), "it is 3 x 4 pixels wide and high, expected 3 x 3"),
    ],
)
def test_an_array_that_is_no_score_map_is_named(bad, words):
    size = (3, 3) if bad.shape == (4, 3) else None
    with pytest.raises(InputError) as error:
        checked("c0/a.jpg", bad, size)
    assert str(error.value).startswith("score map of c0/a.jpg: ") and words in str(error.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_out_of_the_range_is_clipped(dtype):
    """As of a float32 division or a cubic resizing in another program."""
    values = np.array([[np.nextafter(dtype(1), dtype(2)), 1, 0.25], [-1e-9, -1e-6, 0]], dtype)
    result = checked("c0/a.jpg", values)
    np.testing.assert_array_equal(result, [[1, 1, 0.25], [0, 0, 0]])
    assert quantise(result).tolist() == [[255, 255, 63], [0, 0, 0]]  # without clipping, -1e-9 is no uint8
    assert values[1, 0] < 0  # the array of the caller is unchanged


def test_single_precision_becomes_double_before_it_is_quantised():
    assert checked("", np.full((1, 1), 0.1, np.float32)).dtype == np.float64


def test_read(tmp_path):
    (tmp_path / "maps" / "c0").mkdir(parents=True)
    np.save(tmp_path / "maps" / "c0" / "a.jpg.npy", np.eye(3))
    np.save(tmp_path / "secret.npy", np.eye(3))
    np.save(tmp_path / "maps" / "objects.npy", np.array([[{}]]), allow_pickle=True)
    np.testing.assert_array_equal(read(tmp_path / "maps", "c0/a.jpg", (3, 3)), np.eye(3))
    (tmp_path / "maps" / "c0" / "text.jpg.npy").write_text("no array")
    for name, message in {
        "c0/missing.jpg": r"there is no map .*c0/missing\.jpg\.npy; expected the score map of c0/missing\.jpg$",
        "objects.npy/a.jpg": "there is no map .*; expected the score map of objects.npy/a.jpg",
        "../secret": r"score map of \.\./secret: .*secret\.npy is outside of .*maps",
        "objects": r"objects\.npy: not a readable \.npy file; expected the score map of objects",
        "c0/text.jpg": r"c0/text\.jpg\.npy: not a readable \.npy file; expected the score map of c0/text\.jpg",
    }.items():
        with pytest.raises(InputError, match=message):
            read(tmp_path / "maps", name)
