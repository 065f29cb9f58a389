import numpy as np
import pytest

from wsol_jax.data import annotations
from wsol_jax.errors import InputError


def test_boxes_are_divided_by_the_size():
    boxes = annotations.normalised_boxes([[10, 20, 60, 50], [0, 0, 100, 50]], (100, 50), "a.jpg")
    assert boxes.tolist() == [[0.1, 0.4, 0.6, 1.0], [0, 0, 1, 1]]
    assert annotations.normalised_boxes([], (100, 50), "a.jpg").shape == (0, 4)
    assert annotations.normalised_boxes([[1, 2, 3, 4]], (0, 0), "a.jpg").shape == (0, 4)


def test_a_little_beyond_the_edge_is_clipped():
    boxes = annotations.normalised_boxes([[-1, 0, 109, 50.5]], (100, 50), "a.jpg")
    assert boxes.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    "box",
    [[5, 5, 5, 9], [5, 5, 9, 5], [9, 5, 5, 9], [101, 0, 105, 9], [-9, 0, 0, 9], [0, 0, 112, 50], [-12, 0, 50, 50]],
)
def test_empty_or_outside_boxes_are_named(box):
    with pytest.raises(InputError, match=r"a\.jpg: box .* is empty or outside of the photo, which is 100 x 50"):
        annotations.normalised_boxes([[1, 1, 2, 2], box], (100, 50), "a.jpg")


def test_lines_know_where_they_are(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffone\r\n\r\ntwo\u2028still two\n".encode())
    assert annotations.numbered_lines(file) == [(f"{file}, line 1", "one"), (f"{file}, line 3", "two\u2028still two")]
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        annotations.numbered_lines(file)
    with pytest.raises(InputError, match=r"b\.txt: no such file"):
        annotations.numbered_lines(tmp_path / "b.txt")


def test_numbers_are_finite():
    assert annotations.numbers(["1", "2.5"], "here") == [1.0, 2.5]
    for text in ("x", "nan", "inf"):
        with pytest.raises(InputError, match="here: expected"):
            annotations.numbers(["1", text], "here")
    with pytest.raises(InputError, match="is not a whole number"):
        annotations.whole_number("1.5", "here")


def test_numbered_names(tmp_path):
    (tmp_path / "classes.txt").write_text("1 a b\n2 c\n")
    assert annotations.numbered_names(tmp_path / "classes.txt", first=1) == ["a b", "c"]
    with pytest.raises(InputError, match=r"line 1: expected '0 NAME', got '1 a b'"):
        annotations.numbered_names(tmp_path / "classes.txt", first=0)


def test_boxes_are_float64():
    assert annotations.normalised_boxes([[1, 1, 2, 2]], (3, 3), "a").dtype == np.float64
