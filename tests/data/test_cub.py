import numpy as np
import pytest
from PIL import Image

from wsol_jax.data import load_dataset
from wsol_jax.errors import InputError

FILES = {
    "images.txt": "1 007.A/a 1.jpg\n2 007.A/b.jpg\n3 009.B/c.jpg\n4 009.B/d.jpg\n",
    "image_class_labels.txt": "1 1\n2 1\n3 2\n4 2\n",
    "train_test_split.txt": "1 1\n2 0\n3 0\n4 1\n",
    "bounding_boxes.txt": "1 1.0 2.0 3.0 4.0\n2 0 0 12 8\n3 0.5 0 6 8\n4 0 0 1 1\n",
    "classes.txt": "1 Auk\n2 Bee eater\n",
}


@pytest.fixture
def root(tmp_path, write_photo):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for name in ("007.A/a 1.jpg", "007.A/b.jpg", "009.B/c.jpg", "009.B/d.jpg"):
        write_photo(tmp_path / "images" / name)
    return tmp_path


def test_reads_the_tree(root, data_config):
    dataset = load_dataset(data_config("cub", root), seed=0)
    assert dataset.classes == ["Auk", "Bee eater"]
    train, test = dataset.splits["train"], dataset.splits["test"]
    assert [record.path for record in train] == ["images/007.A/a 1.jpg", "images/009.B/d.jpg"]
    assert [record.label for record in test] == [0, 1]
    np.testing.assert_allclose(train[0].boxes, [[1 / 12, 2 / 8, 4 / 12, 6 / 8]])
    assert dataset.read(train[0]).shape == (8, 12, 3)
    assert not any(record.masks for record in train + test)


@pytest.fixture
def segmentations(root):
    for name in ("007.A/a 1.png", "007.A/b.png", "009.B/c.png", "009.B/d.png"):
        (root / "segmentations" / name).parent.mkdir(parents=True, exist_ok=True)
        # A grey level is the number of annotators, of five, that agree.
        Image.fromarray(np.eye(8, 12, dtype=np.uint8) * 51).save(root / "segmentations" / name)
    return root / "segmentations"


def test_masks(root, segmentations, data_config):
    dataset = load_dataset(data_config("cub", root), seed=0)
    record = dataset.splits["train"][0]
    assert (record.masks, record.ignore) == (("segmentations/007.A/a 1.png",), None)
    square = dataset.read_mask(record, 24)
    assert square.shape == (24, 24)
    assert (square == np.repeat(np.repeat(np.eye(8, 12, dtype=np.uint8), 3, axis=0), 2, axis=1)).all()


def test_a_mask_that_is_missing_or_of_another_shape(root, segmentations, data_config):
    (segmentations / "009.B" / "c.png").unlink()
    strict = data_config("cub", root, {"on_error": "stop"})
    with pytest.raises(InputError, match=r"009\.B/c\.png: no such mask, .* for images/009\.B/c\.jpg"):
        load_dataset(strict, seed=0)
    test = load_dataset(data_config("cub", root), seed=0).splits["test"]
    assert [record.path for record in test] == ["images/007.A/b.jpg"]
    Image.new("L", (8, 12)).save(segmentations / "009.B" / "c.png")
    with pytest.raises(InputError, match=r"009\.B/c\.png: a mask of 8 x 12 pixels, .* 12 x 8"):
        load_dataset(strict, seed=0)


def test_classes_need_no_names(root, data_config):
    (root / "classes.txt").unlink()
    assert load_dataset(data_config("cub", root), seed=0).classes == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("images.txt", None, r"images\.txt: no such file"),
        ("images.txt", "", r"images\.txt is empty"),
        ("images.txt", "1\n", r"images\.txt, line 1: expected 'id path'"),
        ("images.txt", "1 007.A/a 1.jpg\n1 007.A/b.jpg\n", r"line 2: id 1 comes twice"),
        ("images.txt", FILES["images.txt"].replace("b.jpg", "gone.jpg"), r"gone\.jpg: no such photo"),
        ("images.txt", FILES["images.txt"].replace("007.A/b.jpg", "../b.jpg"), "expected a relative path"),
        ("images.txt", FILES["images.txt"].replace("b.jpg", "a 1.jpg"), "listed more than once"),
        ("image_class_labels.txt", "1 1\n2 1\n3 2\n", r"image_class_labels\.txt has no line for id 4, 009\.B/d\.jpg"),
        ("image_class_labels.txt", FILES["image_class_labels.txt"] + "5 1\n", "line 5: id 5 is not in images.txt"),
        ("image_class_labels.txt", "1 0\n2 1\n3 2\n4 2\n", "line 1: there is no class 0; expected 1 to 2"),
        ("image_class_labels.txt", "1 1\n2 1\n3 1\n4 1\n", "class 'Bee eater' has no training photo"),
        ("train_test_split.txt", "1 1\n2 0\n3 yes\n4 1\n", "line 3: expected 1 .*, got 'yes'"),
        ("bounding_boxes.txt", "1 1 1 1\n", r"bounding_boxes\.txt, line 1: expected 'id x y width height'"),
        ("bounding_boxes.txt", FILES["bounding_boxes.txt"].replace("12 8", "x 8"), "line 2: expected numbers"),
        ("bounding_boxes.txt", FILES["bounding_boxes.txt"].replace("12 8", "0 8"), r"b\.jpg: box .* 12 x 8 pixels"),
        ("bounding_boxes.txt", FILES["bounding_boxes.txt"].replace("12 8", "24 8"), r"b\.jpg: box .* 12 x 8 pixels"),
        ("classes.txt", "0 Auk\n1 Bee eater\n", "line 1: expected '1 NAME'"),
    ],
)
def test_wrong_files_are_named(root, data_config, name, text, message):
    (root / name).unlink() if text is None else (root / name).write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_dataset(data_config("cub", root, {"on_error": "stop"}), seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.real
def test_real_birds(shared, data_config):
    dataset = load_dataset(data_config("cub", shared / "data" / "birds25" / "CUB_200_2011"), seed=0)
    assert {name: len(records) for name, records in dataset.splits.items()} == {"train": 750, "test": 652}
    assert len(dataset.classes) == 25
    first = dataset.splits["test"][0]
    assert first.path == "images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg"
    w, h = first.size
    np.testing.assert_allclose(first.boxes * (w, h, w, h), [[38.4, 17.3, 246.4, 211.9]])
    for record in dataset.splits["train"][::250]:
        assert dataset.read(record).shape == (record.size[1], record.size[0], 3)
