"""Drawn boxes and the photos that they are of: names, sizes, classes."""

import json

import numpy as np
import pytest

from wsol_jax.data import matching
from wsol_jax.data.drawn import Drawn
from wsol_jax.data.frames import turned_boxes, turned_size
from wsol_jax.data.matching import read_boxes, with_true_boxes
from wsol_jax.data.records import NO_BOXES, Dataset, Record
from wsol_jax.errors import InputError

CLASSES = ["wren", "crow"]
RECORDS = [
    Record("train/wren/a.jpg", 0, (200, 100), NO_BOXES),
    Record("train/crow/b c.jpg", 1, (60, 50), NO_BOXES),
    Record("test/crow/a.jpg", 1, (60, 50), NO_BOXES),
    Record("test/d.jpg", -1, (60, 50), NO_BOXES),
]
BOX = [20, 10, 100, 60]


@pytest.fixture
def read(monkeypatch, tmp_path):
    def read_photos(*photos: Drawn, report=lambda line: None, records=RECORDS, frame="auto"):
        monkeypatch.setattr(matching, "read_drawn", lambda path, report: list(photos))
        dataset = Dataset(CLASSES, {"train": records}, lambda record: None, lambda record, size: None, frame)
        return read_boxes(tmp_path / "f", dataset, report)

    return read_photos


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("train/wren/a.jpg", "train/wren/a.jpg"),
        ("/home/me/photos/train/wren/a.jpg", "train/wren/a.jpg"),
        ("wren/a.jpg", "train/wren/a.jpg"),
        ("wren/a", "train/wren/a.jpg"),  # an XML file
        ("d.jpg", "test/d.jpg"),
        ("/data/local-files/?d=birds/train/crow/b%20c.jpg", "train/crow/b c.jpg"),
        ("/data/upload/3/0a1b2c3d-d.jpg", "test/d.jpg"),
        ("http://host:8080/data/local-files/?d=test/d.jpg", "test/d.jpg"),
        ("train\\crow\\b c.jpg", "train/crow/b c.jpg"),
    ],
)
def test_names_of_other_programs(name, path, read):
    assert list(read(Drawn(name, (), ()))) == [path]


@pytest.mark.parametrize("name", ["e.jpg", "hawk/a.jpg", "", "..", "/", "0a1b2c3-d.jpg", "test/d.jpg/x", "D.jpg"])
def test_unknown_photos(name, read):
    with pytest.raises(InputError, match=r"1 of 2 photos are not in the dataset, the first is .*; expected paths such"):
        read(Drawn("test/d.jpg", (), ()), Drawn(name, (), ()))


def test_ambiguous_and_repeated_photos(read):
    with pytest.raises(InputError, match=r"a\.jpg can be train/wren/a\.jpg or test/crow/a\.jpg"):
        read(Drawn("a.jpg", (), ()))
    with pytest.raises(InputError, match=r"photo test/d\.jpg comes twice"):
        read(Drawn("test/d.jpg", (), ()), Drawn("d.jpg", (), ()))


def test_boxes_are_normalised_whatever_their_unit(read):
    expected = [[0.1, 0.1, 0.5, 0.6]]
    for drawn in (
        Drawn("wren/a.jpg", [BOX], [""]),
        Drawn("wren/a.jpg", [BOX], ["wren"], (200, 100)),
        Drawn("wren/a.jpg", [[10, 10, 50, 60]], ["wren"], (200, 100), percent=True),
        Drawn("wren/a.jpg", [[10, 10, 50, 60]], ["wren"], percent=True),
        Drawn("wren/a.jpg", [[10, 5, 50, 30]], ["wren"], (100, 50)),  # drawn on a smaller copy
    ):
        np.testing.assert_allclose(read(drawn)["train/wren/a.jpg"].own, expected)


def test_classes(read):
    boxes = read(Drawn("wren/a.jpg", [BOX, BOX, BOX], ["crow", "wren", ""]), Drawn("d.jpg", [[1, 1, 9, 9]], ["crow"]))
    assert [len(part) for part in boxes["train/wren/a.jpg"]] == [2, 1]
    assert [len(part) for part in boxes["test/d.jpg"]] == [1, 0]  # it has no label
    with pytest.raises(InputError, match=r"wren/a\.jpg has a box of class 'hawk'; expected 'wren', 'crow'"):
        read(Drawn("wren/a.jpg", [BOX], ["hawk"]))


def test_boxes_outside_and_photos_of_another_size(read):
    with pytest.raises(InputError, match=r"wren/a\.jpg: box .* is empty or outside of the photo"):
        read(Drawn("wren/a.jpg", [[20, 10, 300, 60]], ["wren"]))
    with pytest.raises(InputError, match=r"is 100 x 200 pixels, but train/wren/a\.jpg is 200 x 100; expected"):
        read(Drawn("wren/a.jpg", [BOX], ["wren"], (100, 200)))
    with pytest.raises(InputError, match="is 0 x 0 pixels"):
        read(Drawn("wren/a.jpg", [BOX], ["wren"], (0, 0)))


def test_guesses_are_reported_once_with_a_count(read):
    lines = []
    photos = [Drawn(name, (), ()) for name in ("wren/a.jpg", "test/d.jpg", "b c.jpg")]
    read(*photos, report=lines.append)
    assert len(lines) == 1 and "2 of 3 photos" in lines[0] and "wren/a.jpg is train/wren/a.jpg" in lines[0]


def test_true_boxes_of_a_dataset(tmp_path):
    dataset = Dataset(
        CLASSES, {"train": RECORDS[:2], "test": RECORDS[2:]}, lambda record: None, lambda record, size: None
    )
    coco = {
        "images": [{"id": i, "file_name": record.path} for i, record in enumerate(RECORDS)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": [
            {"image_id": 0, "category_id": 0, "bbox": [20, 10, 80, 50]},
            {"image_id": 0, "category_id": 0, "bbox": [20, 10, 80, 50]},
            {"image_id": 1, "category_id": 0, "bbox": [1, 1, 9, 9]},
        ],
    }
    (tmp_path / "f.json").write_text(json.dumps(coco))
    splits = with_true_boxes(dataset, tmp_path / "f.json").splits
    assert [len(record.boxes) for records in splits.values() for record in records] == [2, 0, 0, 0]
    np.testing.assert_allclose(splits["train"][0].boxes[0], [0.1, 0.1, 0.5, 0.6])
    assert [record._replace(boxes=NO_BOXES) for record in splits["train"]] == RECORDS[:2]
    (tmp_path / "f.json").write_text(json.dumps(coco | {"annotations": coco["annotations"][2:]}))
    with pytest.raises(InputError, match="no photo has a box of its own class"):
        with_true_boxes(dataset, tmp_path / "f.json")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("percent", [False, True])
def test_boxes_of_turned_photos(read, orientation, percent):
    stored, box = (160, 120), np.array([10, 20, 60, 100])
    size = turned_size(stored, orientation)
    photo = Record("a.jpg", 0, size, NO_BOXES, orientation=orientation)
    wide = Record("b.jpg", 0, turned_size(stored, 6), NO_BOXES, orientation=6)
    sides = np.tile(stored, 2)
    drawn = Drawn("a.jpg", [(100 * box / sides if percent else box).tolist()], ["wren"], stored, percent)
    other = Drawn("b.jpg", [[1, 1, 9, 9]], ["wren"], stored)  # its size decides where that of the first does not
    upright = turned_boxes(box[None] / sides, orientation)
    lines = []
    boxes = read(drawn, other, records=[photo, wide], report=lines.append)
    np.testing.assert_allclose(boxes["a.jpg"].own, upright)
    assert ("of 1 photos" if orientation == 1 else "of 2 photos") in lines[0] and "are turned" in lines[0]
    np.testing.assert_allclose(read(drawn, records=[photo], frame="stored")["a.jpg"].own, upright)
    if size == stored:
        np.testing.assert_allclose(read(drawn, records=[photo])["a.jpg"].own, box[None] / sides)
    else:
        with pytest.raises(InputError, match=r"is 160 x 120 pixels, but a\.jpg is 120 x 160; expected boxes of the up"):
            read(drawn, records=[photo], frame="upright")
        with pytest.raises(InputError, match=r"expected boxes of the stored pixels, as --config\.data\.annotation_fr"):
            read(Drawn("a.jpg", [[1, 1, 9, 9]], [""], size), records=[photo], frame="stored")
