"""Tables of boxes and classes: written and read, and every kind of wrong table."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.errors import InputError
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions, write_predictions

RECORDS = [Record(f"bird/{i}.jpg", i % 3, (200 + 10 * i, 100 + i), NO_BOXES) for i in range(7)]


def everything() -> Predictions:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.5, (7, 2))
    return Predictions(
        box=np.concatenate([low, low + rng.uniform(0, 0.7, (7, 2))], axis=-1),
        score=rng.normal(size=7).astype(np.float32),
        fallback=rng.random(7) < 0.5,
        top5_class=np.stack([rng.permutation(9)[:5] for _ in range(7)]).astype(np.int32),
        top5_prob=rng.random((7, 5)).astype(np.float32),
    )


def same(a: Predictions, b: Predictions) -> None:
    for name, left, right in zip(Predictions._fields, a, b, strict=True):
        assert (left is None) == (right is None), name
        if left is not None:
            assert left.dtype == right.dtype, name
            np.testing.assert_allclose(left, right, rtol=0, atol=1e-15 if name == "box" else 0, err_msg=name)


def edited(path, **columns):
    """The file with some columns replaced, or removed where they are None."""
    table = pq.read_table(path)
    for name, values in columns.items():
        position = table.column_names.index(name)
        table = table.remove_column(position) if values is None else table.set_column(position, name, [values])
    pq.write_table(table, path)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "predictions" / "test.parquet"
    write_predictions(path, RECORDS, everything())
    return path


def test_a_table_is_read_as_it_was_written(path):
    same(read_predictions(path, RECORDS), everything())
    assert [p.name for p in path.parent.iterdir()] == ["test.parquet"]


@pytest.mark.parametrize("fields", [("box",), ("box", "score", "fallback"), ("top5_class", "top5_prob")])
def test_a_field_that_is_none_has_no_column(path, fields):
    some = Predictions(**{field: getattr(everything(), field) for field in fields})
    write_predictions(path, RECORDS, some)
    same(read_predictions(path, RECORDS), some)


def test_columns_are_pixels_of_the_original_image(path):
    table = pq.read_table(path)
    assert table.schema.names == [
        *("image", "label", "x0", "y0", "x1", "y1", "score", "fallback", "top5_class", "top5_prob"),
    ]
    types = ["string", "int32", *4 * ["double"], "float", "bool", "list<item: int32>", "list<item: float>"]
    assert [str(t).replace("element", "item") for t in table.schema.types] == types
    assert table.column("label").to_pylist() == [0, 1, 2, 0, 1, 2, 0]
    row = table.slice(3, 1).to_pylist()[0]
    expected = everything().box[3] * [230, 103, 230, 103]
    assert [row[name] for name in ("x0", "y0", "x1", "y1")] == expected.tolist()


def test_rows_are_joined_by_name_in_any_order(path):
    table = pq.read_table(path)
    pq.write_table(table.take([4, 2, 6, 0, 5, 1, 3]), path, row_group_size=2)
    same(read_predictions(path, RECORDS), everything())
    some = [5, 1]
    expected = Predictions(*(values[some] for values in everything()))
    same(read_predictions(path, [RECORDS[i] for i in some]), expected)


def test_types_of_another_program_are_read(path):
    box = pq.read_table(path).column("x0").to_pylist()
    classes = everything().top5_class.tolist()
    edited(path, x0=pa.array(box, pa.float64()), top5_class=pa.array(classes, pa.large_list(pa.int64())))
    same(read_predictions(path, RECORDS), everything())


def test_no_records_at_all(path):
    write_predictions(path, [], Predictions(*(values[:0] for values in everything())))
    assert [len(values) for values in read_predictions(path, [])] == [0] * 5


BOXES = pa.array([10.0] * 7)
WRONG = {
    "no image column": (dict(image=None), "expected a column 'image'"),
    "half a box": (dict(y1=None), "no column 'y1'; expected x0, y0, x1, y1 together"),
    "half the classes": (dict(top5_prob=None), "no column 'top5_prob'"),
    "twice": (dict(image=pa.array(["a"] * 2 + [r.path for r in RECORDS[2:]])), "image a comes twice"),
    "missing rows": (
        dict(image=pa.array(["a", "bird/1.jpg", "b", *(r.path for r in RECORDS[3:])])),
        "no row for 2 of 7 photos, the first is bird/0.jpg",
    ),
    "nan": (dict(x0=pa.array([10.0, np.nan, *5 * [10.0]])), "1 boxes are not finite or inverted.*bird/1.jpg"),
    "infinite": (dict(x1=pa.array([1e3] * 6 + [np.inf])), "not finite or inverted.*bird/6.jpg"),
    "inverted": (dict(y0=BOXES, y1=pa.array([11.0, 9.0, 9.0, *4 * [10.0]])), "2 boxes are not finite or inv.*/1.jpg"),
    "empty cell": (dict(x0=pa.array([None] * 3 + [1.0] * 4)), "column 'x0' has 3 empty cells"),
    "not a number": (dict(x0=pa.array(["left"] * 7)), "column 'x0' holds string, expected double"),
    "ragged": (dict(top5_class=pa.array([[1, 2]] * 6 + [[3]])), "'top5_class' expected 1 to 5 classes per photo"),
    "too many": (dict(top5_class=pa.array([[1, 2, 3, 4, 5, 6]] * 7)), "'top5_class' expected 1 to 5 classes"),
    "of different lengths": (dict(top5_class=pa.array([[1, 2]] * 7)), "top5_class has 2 classes.*top5_prob 5"),
    "no class": (dict(top5_class=pa.array([[0, 1, 2, 3, None]] * 7)), "'top5_class' expected 1 to 5 classes"),
}


@pytest.mark.parametrize(("columns", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_table_is_named_in_one_line(path, columns, message):
    edited(path, **columns)
    with pytest.raises(InputError, match=message) as error:
        read_predictions(path, RECORDS)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_no_file_and_no_parquet(tmp_path):
    path = tmp_path / "boxes.parquet"
    with pytest.raises(InputError, match=r"boxes\.parquet: no such file"):
        read_predictions(path, RECORDS)
    path.write_bytes(b"image,x0,y0,x1,y1\n")
    with pytest.raises(InputError, match=r"boxes\.parquet: not a readable Parquet table"):
        read_predictions(path, RECORDS)


def test_a_required_field_needs_its_columns(path):
    write_predictions(path, RECORDS, Predictions(score=everything().score))
    read_predictions(path, RECORDS, needs=("score",))
    with pytest.raises(InputError, match="expected the columns x0, y0, x1, y1"):
        read_predictions(path, RECORDS, needs=("box",))
    with pytest.raises(InputError, match="expected the columns top5_class, top5_prob"):
        read_predictions(path, RECORDS, needs=("top5_class",))
