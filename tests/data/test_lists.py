import numpy as np
import pytest
from absl import logging
from PIL import Image

from wsol_jax.data import load_dataset, photos
from wsol_jax.errors import InputError

FILES = {
    "image_ids.txt": "c/b,1.jpg\nc/a.jpg\nd/e.jpg",
    "class_labels.txt": "c/a.jpg,0\nc/b,1.jpg,0\nd/e.jpg,1",
    "image_sizes.txt": "c/a.jpg,120,80\nc/b,1.jpg,12,8\nd/e.jpg,12,8",
    "localization.txt": "c/a.jpg,30,20,120,60\nc/a.jpg,0,0,12,8\nc/b,1.jpg,1,1,2,2\nnot/listed.jpg,1,1,2,2",
}
MASKS = "c/a.jpg,c/a_0.png,c/a_ignore.png\nc/b,1.jpg,b.png,\nc/a.jpg,c/a_1.png,\nnot/listed.jpg,gone.png,"


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


@pytest.fixture
def masked(root):
    """The folder with files of masks and of boxes."""
    for split in ("train", "test"):
        prefix = "train/" if split == "train" else ""
        (root / "metadata" / split / "masks.txt").write_text(MASKS.replace("c/a.jpg", f"{prefix}c/a.jpg"))
    (root / "masks" / "c").mkdir(parents=True)
    for number, name in enumerate(("c/a_0", "c/a_1", "c/a_ignore", "b")):
        column = np.tile(np.arange(6) == number, (4, 1))
        Image.fromarray(column).save(root / "masks" / f"{name}.png")
    return root


MASKED = {"lists.masks": "masks.txt", "lists.mask_dir": "masks"}


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
        ("image_ids.txt", FILES["image_ids.txt"] + "\nc/a.jpg", r"image_ids\.txt, line 4: c/a\.jpg comes twice"),
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
        ("localization.txt", "c/a.jpg,30,20,x,60", "line 1: expected numbers"),
        ("localization.txt", None, r"localization\.txt: no such file"),
        ("localization.txt", "c/a.jpg,mask.png,", "line 1: expected 'path,x0,y0,x1,y1'"),
        ("localization.txt", "c/a.jpg,30,20,30,60", r"images/c/a\.jpg: box .* is empty"),
        ("localization.txt", "c/a.jpg,120,20,30,60", r"images/c/a\.jpg: box \[120.0, 20.0, 30.0, 60.0\] .* is empty"),
        ("localization.txt", "c/a.jpg,121,20,130,60", r"images/c/a\.jpg: box .* outside .* 120 x 80"),
    ],
)
def test_wrong_lists_are_named(root, data_config, name, text, message):
    file = root / "metadata" / "test" / name
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_dataset(data_config("lists", root, {"on_error": "stop"}), seed=0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("image_sizes.txt", FILES["image_sizes.txt"].replace("120,80", "120,0")),
        ("localization.txt", "c/a.jpg,30,20,x,60"),
        ("localization.txt", "c/a.jpg,30,20,30,60"),
        ("localization.txt", "c/a.jpg,121,20,130,60"),
    ],
)
def test_a_photo_with_a_wrong_annotation_is_left_out(root, data_config, caplog, name, text):
    logging.use_python_logging(quiet=True)
    (root / "metadata" / "test" / name).write_text(text)
    dataset = load_dataset(data_config("lists", root), seed=0)
    assert [record.path for record in dataset.splits["test"]] == ["images/c/b,1.jpg", "images/d/e.jpg"]
    assert len(dataset.splits["train"]) == 3
    assert "1 of 6 photos are absent or wrongly annotated and left out: images/c/a.jpg; the first:" in caplog.text


@pytest.mark.parametrize("name", ["/etc/passwd", "../a.jpg", "c/../../a.jpg"])
def test_photos_stay_inside_the_folder(root, data_config, name):
    for file, columns in (("image_ids", ""), ("class_labels", ",0"), ("image_sizes", ",12,8")):
        (root / "metadata" / "test" / f"{file}.txt").write_text(name + columns)
    with pytest.raises(InputError, match=f"{name}' is not a file inside"):
        load_dataset(data_config("lists", root), seed=0)


def test_a_photo_in_two_splits_is_named(root, data_config):
    with pytest.raises(InputError, match=r"3 photos are listed more than once, the first is images/c/b,1\.jpg"):
        load_dataset(data_config("lists", root, {"lists.val": "metadata/test"}), seed=0)


def test_a_listed_photo_has_to_exist(root, data_config):
    (root / "images" / "d" / "e.jpg").unlink()
    with pytest.raises(InputError, match=r"images/d/e\.jpg: no such photo"):
        load_dataset(data_config("lists", root, {"on_error": "stop"}), seed=0)
    test = load_dataset(data_config("lists", root), seed=0).splits["test"]
    assert [record.path for record in test] == ["images/c/b,1.jpg", "images/c/a.jpg"]
    for name in ("a.jpg", "b,1.jpg"):
        (root / "images" / "c" / name).unlink()
    with pytest.raises(InputError, match=r"b,1\.jpg: no such photo.*; nor can any other test photo be used"):
        load_dataset(data_config("lists", root), seed=0)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lists.train", "metadata/val", r"--config\.data\.lists\.train: there is no folder"),
        ("lists.test", "../elsewhere", "expected a relative path"),
        ("lists.val", "metadata/val", r"--config\.data\.lists\.val: there is no folder"),
        ("lists.val_per_class", -1, r"--config\.data\.lists\.val_per_class is -1; expected 0 or a positive number"),
        ("lists.val_per_class", 5, r"lists\.val_per_class is 5, but lists\.val is ''; expected a folder of lists"),
        ("lists.boxes", "../localization.txt", "expected a relative path"),
        ("lists.masks", "../localization.txt", "expected a relative path"),
        ("lists.masks", "gone.txt", r"metadata/test/gone\.txt: no such file"),
        ("lists.masks", "localization.txt", r"localization\.txt: expected 'path,mask.png,ignore.png' for photos"),
    ],
)
def test_wrong_keys(root, data_config, key, value, message):
    with pytest.raises(InputError, match=message):
        load_dataset(data_config("lists", root, {key: value}), seed=0)


def test_boxes_and_masks(masked, data_config):
    dataset = load_dataset(data_config("lists", masked, MASKED), seed=0)
    first, second, third = dataset.splits["test"]
    assert (first.masks, first.ignore) == (("masks/b.png",), None)
    assert (second.masks, second.ignore) == (("masks/c/a_0.png", "masks/c/a_1.png"), "masks/c/a_ignore.png")
    assert (third.masks, third.ignore) == ((), None)
    assert [len(record.boxes) for record in (first, second, third)] == [1, 2, 0]
    assert dataset.read_mask(second, 6)[0].tolist() == [1, 1, 255, 0, 0, 0]
    assert [len(record.masks) for record in dataset.splits["train"]] == [0, 2, 0]
    with pytest.raises(InputError, match=r"images/d/e\.jpg has no mask"):
        dataset.read_mask(third, 6)


def test_one_file_of_masks_in_place_of_boxes(masked, data_config):
    (masked / "metadata" / "train" / "localization.txt").unlink()
    (masked / "metadata" / "test" / "localization.txt").write_text(MASKS)
    dataset = load_dataset(data_config("lists", masked, MASKED | {"lists.masks": "localization.txt"}), seed=0)
    assert [len(record.masks) for record in dataset.splits["test"]] == [1, 2, 0]
    assert not any(len(record.boxes) for records in dataset.splits.values() for record in records)
    assert not any(record.masks for record in dataset.splits["train"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c/a.jpg,,c/a_ignore.png", r"masks\.txt, line 1: .* no mask for c/a\.jpg"),
        ("c/a.jpg,c/a_0.png,\nc/a.jpg,c/a_1.png,c/a_ignore.png", "line 2: .* first line of .* alone, got c/a_ignore"),
        ("c/a.jpg,gone.png,", r"masks/gone\.png: no such mask, .* for images/c/a\.jpg"),
        ("c/a.jpg,../images/c/a.jpg,", "expected a relative path without"),
        ("c/a.jpg,/etc/passwd,", "expected a relative path without"),
        ("c/a.jpg,b.png,/etc/passwd", "expected a relative path without"),
        ("c/a.jpg,tall.png,", r"tall\.png: a mask of 4 x 6 pixels, but its photo images/c/a\.jpg is 120 x 80"),
        ("c/a.jpg,b.png,tall.png", r"tall\.png: a mask of 4 x 6 pixels, but its photo images/c/a\.jpg is 120 x 80"),
    ],
)
def test_wrong_masks_are_named(masked, data_config, line, message):
    Image.new("L", (4, 6)).save(masked / "masks" / "tall.png")
    (masked / "metadata" / "test" / "masks.txt").write_text(line)
    with pytest.raises(InputError, match=message) as error:
        load_dataset(data_config("lists", masked, MASKED | {"on_error": "stop"}), seed=0)
    assert "\n" not in str(error.value)


def test_a_mask_line_without_ignored_pixels(masked, data_config):
    lines = "c/a.jpg,c/a_0.png\nc/b,1.jpg,b.png\nc/a.jpg,c/a_1.png,\nd/e.jpg,b.png,c/a_ignore.png\nnot,listed.jpg,b.png"
    (masked / "metadata" / "test" / "masks.txt").write_text(lines)
    test = load_dataset(data_config("lists", masked, MASKED), seed=0).splits["test"]
    assert [(record.masks, record.ignore) for record in test] == [
        (("masks/b.png",), None),
        (("masks/c/a_0.png", "masks/c/a_1.png"), None),
        (("masks/b.png",), "masks/c/a_ignore.png"),
    ]


def test_without_photos_and_sizes_the_masks_give_the_sizes(masked, data_config):
    (masked / "metadata" / "test" / "image_sizes.txt").write_text("")
    (masked / "metadata" / "test" / "masks.txt").write_text(MASKS + "\nd/e.jpg,b.png,")
    absent = {"lists.photos": False, "lists.images": "nowhere", "lists.train": "", "on_error": "stop"}
    changes = MASKED | absent | {"lists.boxes": ""}
    dataset = load_dataset(data_config("lists", masked, changes), seed=0)
    assert [record.size for record in dataset.splits["test"]] == [(6, 4)] * 3
    assert dataset.read(dataset.splits["test"][0]).shape == (4, 6, 3)
    assert dataset.read_mask(dataset.splits["test"][1], 6)[0].tolist() == [1, 1, 255, 0, 0, 0]
    with pytest.raises(InputError, match=r"nowhere/c/b,1\.jpg: its lists give no size, and photos are absent"):
        load_dataset(data_config("lists", masked, MASKED | absent), seed=0)  # boxes are in pixels of the photo


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_line_ends_of_other_systems(root, data_config, end):
    for file in (root / "metadata").rglob("*.txt"):
        file.write_bytes(file.read_bytes().replace(b"\n", end.encode()))
    test = load_dataset(data_config("lists", root), seed=0).splits["test"]
    assert [len(record.boxes) for record in test] == [1, 2, 0]


def test_classes_that_start_at_1(root, data_config, caplog):
    logging.use_python_logging(quiet=True)
    for file in (root / "metadata").rglob("class_labels.txt"):
        file.write_text(file.read_text().replace("g,1", "g,2").replace("g,0", "g,1"))
    dataset = load_dataset(data_config("lists", root), seed=0)
    assert dataset.classes == ["1", "2"]
    assert [record.label for record in dataset.splits["test"]] == [0, 0, 1]
    assert "classes of the lists start at 1; --config.data.lists.first_class=0" in caplog.text
    with pytest.raises(InputError, match="class '0' has no training photo"):
        load_dataset(data_config("lists", root, {"lists.first_class": 0}), seed=0)
    (root / "classes.txt").write_text("0 one\n1 two")
    named = load_dataset(data_config("lists", root, {"lists.train": ""}), seed=0)
    assert (named.classes, named.splits["test"][2].label) == (["one", "two"], 1)
    (root / "classes.txt").write_text("0 one\n1 two\n2 three")  # class 0 may have no test photo
    named = load_dataset(data_config("lists", root, {"lists.train": ""}), seed=0)
    assert named.splits["test"][2].label == 2
    with pytest.raises(InputError, match=r"first_class is 2, but the lists have class 1"):
        load_dataset(data_config("lists", root, {"lists.first_class": 2}), seed=0)


def test_no_sizes_leaves_them_to_the_photos(root, data_config):
    (root / "metadata" / "test" / "image_sizes.txt").write_text("")
    (root / "metadata" / "test" / "localization.txt").write_text("c/a.jpg,3,2,12,6")
    test = load_dataset(data_config("lists", root), seed=0).splits["test"]
    assert [record.size for record in test] == [(12, 8)] * 3
    np.testing.assert_allclose(test[1].boxes, [[0.25, 0.25, 1, 0.75]])


def test_val_in_a_folder_of_its_own(root, write_photo, data_config):
    """As CUBV2 and ImageNetV2 have it."""
    folder = root / "metadata" / "val"
    folder.mkdir()
    for file, columns in (
        ("image_ids", ""),
        ("class_labels", ",1"),
        ("image_sizes", ",9,7"),
        ("localization", ",1,1,9,7"),
    ):
        (folder / f"{file}.txt").write_text(f"val2/1/0.jpeg{columns}")
    write_photo(root / "images" / "val2" / "1" / "0.jpeg", (9, 7))
    changes = {"lists.val": "metadata/val"}
    dataset = load_dataset(data_config("lists", root, changes), seed=0)
    assert {name: len(records) for name, records in dataset.splits.items()} == {"train": 3, "test": 3, "val": 1}
    (record,) = dataset.splits["val"]
    assert (record.path, record.label, len(record.boxes)) == ("images/val2/1/0.jpeg", 1, 1)
    assert dataset.read(record).shape == (7, 9, 3)
    with pytest.raises(InputError, match="val_per_class=1, but the dataset has lists of 'val'"):
        load_dataset(data_config("lists", root, changes | {"val_per_class": 1}), seed=0)
    (folder / "localization.txt").unlink()
    with pytest.raises(InputError, match=r"val/localization\.txt: no such file"):
        load_dataset(data_config("lists", root, changes), seed=0)


def test_the_same_number_of_validation_photos_of_each_class(root, write_photo, data_config):
    folder = root / "metadata" / "val"
    folder.mkdir()
    names = {f"val2/{label}/{i}.jpg": label for i in range(6) for label in (0, 1, 2)}
    names.pop("val2/2/5.jpg")
    for file, columns in (("class_labels", ",{}"), ("image_ids", ""), ("image_sizes", ",12,8")):
        lines = [name + columns.format(label) for name, label in names.items()]
        (folder / f"{file}.txt").write_text("\n".join(lines))
    for name in names:
        write_photo(root / "images" / name)
    changes = {"lists.val": "metadata/val", "lists.boxes": "", "lists.train": ""}

    def drawn(count, seed):
        return load_dataset(data_config("lists", root, changes | {"lists.val_per_class": count}), seed).splits["val"]

    everything = drawn(0, seed=0)
    assert len(everything) == 17
    kept = [[record.path for record in drawn(3, seed)] for seed in (0, 0, 1)]
    assert kept[0] == kept[1] != kept[2]
    for paths in kept:
        chosen = [record for record in everything if record.path in paths]
        assert paths == [record.path for record in chosen]
        assert np.bincount([record.label for record in chosen]).tolist() == [3, 3, 3]
    assert np.bincount([record.label for record in drawn(6, seed=0)]).tolist() == [6, 6, 5]


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
def test_real_butterflies_masks(shared, data_config):
    root = shared / "data" / "butterflies"
    changes = {"lists.train": "", "lists.test": "metadata/val", "lists.boxes": "localization_boxes.txt"}
    changes |= {"lists.masks": "localization_masks.txt", "lists.mask_dir": "masks"}
    dataset = load_dataset(data_config("lists", root, changes), seed=0)
    for record in dataset.splits["test"][::4]:
        (mask,) = record.masks
        rows, columns = np.nonzero(photos.read_mask(root / mask))
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
        np.testing.assert_allclose(record.boxes * (record.size * 2), box)
        square = dataset.read_mask(record, 224)
        assert set(np.unique(square)) == {0, 1}
        assert (square == 1).mean() == pytest.approx(len(rows) / np.prod(record.size), rel=0.02)


@pytest.mark.real
def test_real_openimages_lists(shared, data_config, tmp_path, write_photo):
    """Its lists and masks as they are; the few photos whose masks are at hand are noise."""
    data = shared / "data" / "openimages30k_val_metadata"
    ids = [f"0bt_c3/{name}.jpg" for name in ("3a29f0b33894d4a6", "3b3b9931325d65c9", "1cd9ac0169ec7df0")]
    (tmp_path / "lists").mkdir()
    for file in ("image_ids", "class_labels", "localization", "image_sizes"):
        lines = [line for line in (data / f"{file}.txt").read_text().split("\n") if any(name in line for name in ids)]
        (tmp_path / "lists" / f"{file}.txt").write_text("\n".join(lines))
    for name, size in zip(ids, [(1024, 680), (1024, 682), (744, 1024)], strict=True):
        write_photo(tmp_path / "images" / "val" / name, size)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "val").symlink_to(data / "masks")
    changes = {"lists.train": "", "lists.test": "lists", "lists.masks": "localization.txt", "lists.mask_dir": "masks"}
    dataset = load_dataset(data_config("lists", tmp_path, changes), seed=0)
    counts = {}
    for record in dataset.splits["test"]:
        square = dataset.read_mask(record, 224)
        counts[record.path[-20:]] = len(record.masks), (square == 1).sum(), (square == 255).sum()
        assert record.label == 80
    assert counts == {
        "3a29f0b33894d4a6.jpg": (2, 833, 0),
        "3b3b9931325d65c9.jpg": (1, 347, 35919),
        "1cd9ac0169ec7df0.jpg": (1, 43031, 0),
    }
    (tmp_path / "images" / "val" / ids[0]).unlink()
    with pytest.raises(InputError, match=r"3a29f0b33894d4a6\.jpg: no such photo, though the dataset lists it"):
        load_dataset(data_config("lists", tmp_path, changes | {"on_error": "stop"}), seed=0)
    # Without any photo, the masks give the sizes, of which they have the shape.
    dataset = load_dataset(data_config("lists", tmp_path, changes | {"lists.photos": False}), seed=0)
    ratios = {record.path[-20:]: record.size[0] / record.size[1] for record in dataset.splits["test"]}
    assert ratios["1cd9ac0169ec7df0.jpg"] == pytest.approx(744 / 1024, rel=0.01)


@pytest.mark.real
def test_real_openimages_without_its_photos(shared, data_config):
    changes = {"lists.train": "", "lists.test": "openimages30k_val_metadata", "lists.masks": "localization.txt"}
    with pytest.raises(InputError, match=r"images/val/01226z/32fdab44f6e415f1\.jpg: no such photo"):
        load_dataset(data_config("lists", shared / "data", changes), seed=0)


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
