import numpy as np
import pytest

from wsol_jax.data import load_dataset
from wsol_jax.errors import InputError

FILES = {
    "image_ids.txt": "c/b,1.jpg\nc/a.jpg\nd/e.jpg",
    "class_labels.txt": "c/a.jpg,0\nc/b,1.jpg,0\nd/e.jpg,1",
    "image_sizes.txt": "c/a.jpg,120,80\nc/b,1.jpg,12,8\nd/e.jpg,12,8",
    "localization.txt": "c/a.jpg,30,20,120,60\nc/a.jpg,0,0,12,8\nc/b,1.jpg,1,1,2,2\nnot/listed.jpg,1,1,2,2",
}


@pytest.fixture
def root(tmp_path, write_photo):
    for name in ("c/a.jpg", "c/b,1.jpg", "d/e.jpg"):
        write_photo(tmp_path / "images" / name)
        write_photo(tmp_path / "images" / "train" / name)
    for split in ("train", "test"):
        (tmp_path / "metadata" / split).mkdir(parents=True)
        for name, text in FILES.items():
            text = text.replace("c/", "train/c/").replace("d/", "train/d/") if split == "train" else text
            (tmp_path / "metadata" / split / name).write_text(text)
    return tmp_path


def test_reads_the_lists(root, data_config):
    (root / "metadata" / "train" / "localization.txt").unlink()
    dataset = load_dataset(data_config("lists", root), seed=0)
    assert dataset.classes == ["0", "1"]
    test = dataset.splits["test"]
    assert [record.path for record in test] == ["images/c/b,1.jpg", "images/c/a.jpg", "images/d/e.jpg"]
    assert [record.label for record in test] == [0, 0, 1]
    # The photo on disk is 12 x 8; its boxes and size are the original's.
    assert test[1].size == (120, 80)
    np.testing.assert_allclose(test[1].boxes, [[0.25, 0.25, 1, 0.75], [0, 0, 0.1, 0.1]])
    assert test[2].boxes.shape == (0, 4)
    assert dataset.read(test[1]).shape == (8, 12, 3)
    assert all(record.boxes.shape == (0, 4) for record in dataset.splits["train"])


def test_no_training_lists_and_no_boxes(root, data_config):
    changes = {"lists.train": "", "lists.boxes": "", "lists.images": "images/train", "lists.test": "metadata/test"}
    dataset = load_dataset(data_config("lists", root, changes), seed=0)
    assert list(dataset.splits) == ["test"]
    assert dataset.splits["test"][0].path == "images/train/c/b,1.jpg"
    assert not any(len(record.boxes) for record in dataset.splits["test"])


@pytest.mark.parametrize(
    ("file", "text", "names"),
    [
        ("classes.txt", "0 first one\n1 second", ["first one", "second"]),
        ("synset_words.txt", "n1 a, b\nn2 c", ["a, b", "c"]),
    ],
)
def test_classes_are_named(root, data_config, file, text, names):
    (root / file).write_text(text)
    assert load_dataset(data_config("lists", root), seed=0).classes == names


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("image_ids.txt", None, r"image_ids\.txt: no such file"),
        ("image_ids.txt", FILES["image_ids.txt"] + "\nc/a.jpg", "1 photos are listed more than once, .*images/c/a.jpg"),
        ("image_ids.txt", "c/gone.jpg", r"class_labels\.txt: 1 photos .* have no line, the first is c/gone\.jpg"),
        ("image_ids.txt", "/etc/passwd", "class_labels.txt: 1 photos"),
        (
            "class_labels.txt",
            FILES["class_labels.txt"] + "\nc/a.jpg,1",
            r"class_labels\.txt, line 4: c/a\.jpg comes twice",
        ),
        ("class_labels.txt", "c/a.jpg 0", "line 1: expected 'path,class'"),
        ("class_labels.txt", FILES["class_labels.txt"].replace("a.jpg,0", "a.jpg,-1"), "line 1: class -1; .* from 0"),
        (
            "class_labels.txt",
            FILES["class_labels.txt"].replace("a.jpg,0", "a.jpg,x"),
            "line 1: 'x' is not a whole number",
        ),
        (
            "class_labels.txt",
            FILES["class_labels.txt"].replace("e.jpg,1", "e.jpg,2"),
            "class '2' has no training photo",
        ),
        ("image_sizes.txt", "c/a.jpg,120,80", r"image_sizes\.txt: 2 photos .*, the first is c/b,1\.jpg"),
        ("image_sizes.txt", FILES["image_sizes.txt"].replace("120,80", "120,0"), "line 1: a photo of 120 x 0 pixels"),
        ("localization.txt", None, r"localization\.txt: no such file"),
        ("localization.txt", "c/a.jpg,mask.png,", "line 1: expected 'path,x0,y0,x1,y1'"),
        ("localization.txt", "c/a.jpg,30,20,30,60", r"images/c/a\.jpg: box .* is empty"),
        ("localization.txt", "c/a.jpg,121,20,130,60", r"images/c/a\.jpg: box .* outside .* 120 x 80"),
    ],
)
def test_what_is_wrong_is_named(root, data_config, name, text, message):
    file = root / "metadata" / "test" / name
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_dataset(data_config("lists", root), seed=0)


def test_a_listed_photo_has_to_be_there(root, data_config):
    (root / "images" / "d" / "e.jpg").unlink()
    with pytest.raises(InputError, match=r"images/d/e\.jpg: no such photo"):
        load_dataset(data_config("lists", root), seed=0)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lists.train", "metadata/val", r"--config\.data\.lists\.train: there is no folder"),
        ("lists.test", "../elsewhere", "expected a relative path"),
        ("lists.boxes", "../localization.txt", "expected a relative path"),
    ],
)
def test_wrong_keys(root, data_config, key, value, message):
    with pytest.raises(InputError, match=message):
        load_dataset(data_config("lists", root, {key: value}), seed=0)


def test_too_few_class_names(root, data_config):
    (root / "classes.txt").write_text("0 one\n")
    with pytest.raises(InputError, match=r"classes\.txt names 1 classes, but the lists have class 1"):
        load_dataset(data_config("lists", root), seed=0)


@pytest.mark.real
def test_real_butterflies(shared, data_config):
    changes = {"lists.test": "metadata/val", "lists.boxes": "localization_boxes.txt"}
    dataset = load_dataset(data_config("lists", shared / "data" / "butterflies", changes), seed=0)
    assert {name: len(records) for name, records in dataset.splits.items()} == {"train": 458, "test": 83}
    assert len(dataset.classes) == 10
    first = dataset.splits["train"][0]
    np.testing.assert_allclose(first.boxes * (500, 375, 500, 375), [[25, 110, 397, 314]])
    assert dataset.read(first).shape == (375, 500, 3)


@pytest.mark.real
def test_real_ilsvrc(shared, data_config):
    dataset = load_dataset(data_config("lists", shared / "data" / "ilsvrc200", {"lists.train": ""}), seed=0)
    (records,) = dataset.splits.values()
    assert len(records) == 200
    assert sum(len(record.boxes) for record in records) == 303
    assert len(dataset.classes) == 1000
    assert dataset.classes[1] == "goldfish, Carassius auratus"
    assert records[0].size == (500, 473)
    assert dataset.read(records[0]).shape == (227, 227, 3)
