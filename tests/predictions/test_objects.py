"""Objects with masks: COCO's runs, the table and the COCO JSON."""

import json

import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.data.shapes import drawn
from wsol_jax.errors import InputError
from wsol_jax.predictions.objects import Objects, in_photo, read_objects, runs, write_coco_objects, write_objects

RECORDS = [Record(f"{name}.jpg", label, (6, 4), NO_BOXES) for name, label in (("a", 0), ("none", 1), ("b", -1))]
MASKS = [np.zeros((4, 6), bool) for _ in range(3)]
MASKS[0][1:3, 2:5] = MASKS[1][0, 0] = MASKS[2][:, 3:] = True
OBJECTS = Objects(
    photo=np.array([0, 0, 2]),
    box=np.array([[2 / 6, 1 / 4, 5 / 6, 3 / 4], [0, 0, 1 / 6, 1 / 4], [0.5, 0, 1, 1]]),
    score=np.array([0.75, 0.5, 0.25], np.float32),
    mask=[runs(mask) for mask in MASKS],
    area=np.array([6, 1, 12]),
)


def random_masks():
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (3, 5), (7, 2), (40, 60), (300, 500)]
    return [rng.random(size) < share for size in sizes for share in (0, 0.001, 0.5, 1)]


def test_runs_are_read_as_they_were():
    for mask in [*MASKS, *random_masks()]:
        segmentation = {"size": [*mask.shape], "counts": runs(mask)}
        np.testing.assert_array_equal(drawn(segmentation, mask.shape[::-1]), mask)


def test_runs_are_those_of_pycocotools():
    assert [runs(mask) for mask in MASKS] == ["9220003", "01g0", "<<"]
    theirs = pytest.importorskip("pycocotools.mask")
    for mask in random_masks():
        assert theirs.encode(np.asfortranarray(mask, np.uint8))["counts"].decode() == runs(mask)


def test_a_pixel_has_the_cell_of_its_middle():
    np.testing.assert_array_equal(in_photo(np.array([[True, False, True]]), (7, 2)), [[1, 1, 0, 0, 0, 1, 1]] * 2)


def test_the_table_is_read_as_it_was_written(tmp_path):
    write_objects(tmp_path / "t.parquet", RECORDS, OBJECTS)
    read = read_objects(tmp_path / "t.parquet", RECORDS)
    for name, value in OBJECTS._asdict().items():
        if name == "mask":
            assert read.mask == value
        else:
            np.testing.assert_allclose(getattr(read, name), value, err_msg=name)


def test_no_object_at_all(tmp_path):
    none = Objects(np.zeros(0, int), np.zeros((0, 4)), np.zeros(0, np.float32), [], np.zeros(0, int))
    write_objects(tmp_path / "t.parquet", RECORDS, none)
    assert read_objects(tmp_path / "t.parquet", RECORDS).box.shape == (0, 4)


def test_a_table_of_other_photos_is_one_line(tmp_path):
    write_objects(tmp_path / "t.parquet", RECORDS, OBJECTS)
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    for name, records in (("t", RECORDS[:1]), ("damaged", RECORDS), ("absent", RECORDS)):
        with pytest.raises(InputError, match=f"{name}.parquet: not a table of objects of these photos"):
            read_objects(tmp_path / f"{name}.parquet", records)


def test_instances_of_coco(tmp_path):
    write_coco_objects(tmp_path / "c.json", RECORDS, OBJECTS, np.array([0, 1, 2]), ["wren", "crow", "gull"])
    coco = json.loads((tmp_path / "c.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["a.jpg", "none.jpg", "b.jpg"]
    assert coco["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [2, 1, 3, 2],
        "area": 6,
        "iscrowd": 0,
        "score": 0.75,
        "segmentation": {"size": [4, 6], "counts": OBJECTS.mask[0]},
    }
    assert [(a["image_id"], a["category_id"]) for a in coco["annotations"]] == [(1, 1), (1, 1), (3, 3)]
    write_coco_objects(tmp_path / "c.json", RECORDS, OBJECTS, np.array([0, 1, -1]), ["wren", "crow"])
    assert [a["id"] for a in json.loads((tmp_path / "c.json").read_text())["annotations"]] == [1, 2]
