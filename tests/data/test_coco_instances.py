import json

import numpy as np
import pytest
from absl import logging

from wsol_jax.data import load_dataset
from wsol_jax.errors import InputError

KEYS = {"coco.train": "train.json", "coco.test": "test.json", "coco.train_images": "t", "coco.test_images": "v"}
CATEGORIES = [{"id": 90, "name": "owl"}, {"id": 3, "name": "cat"}, {"id": 17, "name": "never"}]
LEFT = [[0, 0, 6, 0, 6, 8, 0, 8]]


def annotation(number, image, category, box, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "segmentation": LEFT} | more


def write(file, names, annotations, **more):
    images = [{"id": i, "file_name": name, "width": 12, "height": 8} for i, name in enumerate(names)]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES} | more))


@pytest.fixture
def root(tmp_path, write_photo, caplog):
    logging.use_python_logging(quiet=True)
    caplog.set_level("INFO")
    train = [annotation(1, 0, 90, [0, 0, 6, 8]), annotation(2, 1, 3, [0, 0, 6, 8])]
    write(tmp_path / "train.json", ["a.jpg", "b.jpg"], train)
    runs = {"counts": [48, 8, 40], "size": [8, 12]}
    test = [
        annotation(1, 0, 3, [1, 2, 4, 4]),  # a large cat, two owls, a crowd of each
        annotation(2, 0, 90, [0, 0, 6, 8]),
        annotation(3, 0, 90, [6, 4, 3, 4], segmentation={"counts": [88, 8], "size": [8, 12]}),
        annotation(4, 0, 90, [6, 0, 1, 8], segmentation=runs, iscrowd=1),
        annotation(5, 0, 90, [8, 0, 1, 8], segmentation=[[8, 0, 9, 0, 9, 8, 8, 8]], iscrowd=1),
        annotation(6, 0, 3, [9, 0, 1, 8], segmentation=runs, iscrowd=1),
        annotation(7, 1, 3, [0, 0, 2, 2]),  # one each: the larger one
        annotation(8, 1, 90, [0, 0, 4, 4], segmentation=[]),
        annotation(9, 3, 90, [0, 0, 4, 4], segmentation=runs, iscrowd=1),
    ]
    write(tmp_path / "test.json", ["c.jpg", "d/e.jpg", "nothing.jpg", "crowd.jpg"], test)
    for name in ("t/a.jpg", "t/b.jpg", "v/c.jpg", "v/d/e.jpg", "v/nothing.jpg", "v/crowd.jpg"):
        write_photo(tmp_path / name)
    return tmp_path


def test_one_label_and_all_of_its_boxes_and_masks(root, data_config, caplog):
    dataset = load_dataset(data_config("coco", root, KEYS), seed=0)
    assert dataset.classes == ["cat", "owl"]  # in the order of ids, without those of no photo
    assert [(r.path, r.label) for r in dataset.splits["train"]] == [("t/a.jpg", 1), ("t/b.jpg", 0)]
    first, second = dataset.splits["test"]
    assert [(r.path, r.label, r.size) for r in (first, second)] == [("v/c.jpg", 1, (12, 8)), ("v/d/e.jpg", 1, (12, 8))]
    np.testing.assert_allclose(first.boxes, [[0, 0, 0.5, 1], [0.5, 0.5, 0.75, 1]])
    assert dataset.read_mask(first, 12)[0].tolist() == [1] * 6 + [255, 0, 255, 0, 0, 1]
    np.testing.assert_allclose(second.boxes, [[0, 0, 1 / 3, 0.5]])
    assert second.masks == ()
    for text in ("1 photos have no object and are left out", "1 photos have only crowds", "1 of 3 categories label no"):
        assert text in caplog.text


def test_files_of_one_name_keep_their_own_masks(tmp_path, write_photo, data_config):
    keys = {"coco.train": "train/_annotations.coco.json", "coco.test": "test/_annotations.coco.json"}
    keys |= {"coco.train_images": "train", "coco.test_images": "test"}
    for split, mask in (("train", LEFT), ("test", [[6, 0, 12, 0, 12, 8, 6, 8]])):
        write_photo(tmp_path / split / "a.jpg")
        one = annotation(1, 0, 90, [0, 0, 12, 8], segmentation=mask)
        write(tmp_path / split / "_annotations.coco.json", ["a.jpg"], [one])
    dataset = load_dataset(data_config("coco", tmp_path, keys), seed=0)
    rows = [dataset.read_mask(dataset.splits[split][0], 12)[0].tolist() for split in ("train", "test")]
    assert rows == [[1] * 6 + [0] * 6, [0] * 6 + [1] * 6]


def test_photos_of_one_class_alone(root, data_config, caplog):
    write(
        root / "test.json",
        ["c.jpg", "d/e.jpg"],
        [annotation(1, 0, 3, [0, 0, 1, 1])] * 2
        + [annotation(2, 1, 3, [0, 0, 1, 1]), annotation(3, 1, 90, [0, 0, 1, 1])],
    )
    keys = KEYS | {"coco.label": "only", "coco.masks": False}
    (record,) = load_dataset(data_config("coco", root, keys), seed=0).splits["test"]
    assert (record.path, len(record.boxes), record.masks) == ("v/c.jpg", 2, ())
    assert "1 photos have objects of several classes and are left out" in caplog.text


def test_wrong_annotations_are_left_out_or_stop(root, data_config, caplog):
    good = annotation(1, 0, 90, [0, 0, 6, 8])
    for bad in (
        annotation(2, 1, 90, [0, 0, 0, 8]),
        annotation(2, 1, 90, [0, 0, 6]),
        annotation(2, 1, 90, ["x", 0, 6, 8]),
        annotation(2, 1, 55, [0, 0, 6, 8]),
    ):
        write(root / "test.json", ["c.jpg", "d/e.jpg"], [good, annotation(3, 1, 90, [0, 0, 6, 8]), bad])
        test = load_dataset(data_config("coco", root, KEYS), seed=0).splits["test"]
        assert [record.path for record in test] == ["v/c.jpg"]
        with pytest.raises(InputError, match=r"d/e\.jpg"):
            load_dataset(data_config("coco", root, KEYS | {"on_error": "stop"}), seed=0)


def test_no_size_is_the_photos_own(root, data_config):
    images = [{"id": 0, "file_name": "c.jpg"}]
    write(root / "test.json", [], [annotation(1, 0, 90, [0, 0, 6, 8])], images=images)
    (record,) = load_dataset(data_config("coco", root, KEYS), seed=0).splits["test"]
    assert (record.size, record.boxes.tolist(), record.masks) == ((12, 8), [[0, 0, 0.5, 1]], ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"test\.json: no such file of instances"),
        ("{", r"test\.json: not JSON"),
        ("[]", "expected COCO's instances, with lists of images, annotations, categories"),
        ('{"images": [], "annotations": [], "categories": [3]}', "expected COCO's instances"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "a category lacks its id or name"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "an image lacks its id or file_name"),
        ('{"images": [], "annotations": [], "categories": []}', "no photo has a label"),
    ],
)
def test_wrong_files_are_named(root, data_config, text, message):
    (root / "test.json").unlink() if text is None else (root / "test.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load_dataset(data_config("coco", root, KEYS), seed=0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"coco.label": "first"}, r"--config\.data\.coco\.label is 'first'; expected one of most, only"),
        ({"coco.test": "../test.json"}, "expected a relative path"),
        ({"coco.test_images": "../v"}, "expected a relative path"),
    ],
)
def test_wrong_keys(root, data_config, keys, message):
    with pytest.raises(InputError, match=message):
        load_dataset(data_config("coco", root, KEYS | keys), seed=0)


def test_what_does_not_fit_is_counted(root, data_config, caplog):
    rows = [annotation(i, 0, 90, [0, 0, 6, 8]) for i in range(2)]
    rows += [annotation(2, 1, 3, [0, 0, 6, 8]), annotation(3, 1, 3, [0, 0, 6, 8], segmentation=[])]
    rows += [annotation(4, 77, 3, [0, 0, 6, 8]), annotation(5, ["x"], 3, [0, 0, 6, 8])]
    write(root / "train.json", ["a.jpg", "b.jpg"], rows)
    content = json.loads((root / "train.json").read_text())
    content["images"][0] |= {"width": 10**6, "height": 10**6}
    content["images"][1] |= {"width": 12.0, "height": 8.0}
    (root / "train.json").write_text(json.dumps(content))
    dataset = load_dataset(data_config("coco", root, KEYS | {"coco.test": ""}), seed=0)
    assert [(record.path, record.masks) for record in dataset.splits["train"]] == [("t/b.jpg", ())]
    for line in (
        "2 annotations are of images that it does not list",
        "1 photos have objects with and without a mask; they are taken as without masks",
        "1 of 2 photos are absent or wrongly annotated and left out: t/a.jpg",
        "a mask of 1000000 x 1000000 pixels",
    ):
        assert line in caplog.text
