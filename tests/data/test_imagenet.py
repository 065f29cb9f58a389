import threading

import numpy as np
import pytest
from absl import logging

from wsol_jax import threads
from wsol_jax.data import imagenet, load_dataset
from wsol_jax.data.xml_boxes import read_xml
from wsol_jax.errors import InputError

XML = """<annotation><filename>v1</filename><size><width>120</width><height>80</height><depth>3</depth></size>
{}</annotation>"""
OBJECT = (
    """<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
)


def annotate(path, *objects):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(XML.format("".join(OBJECT.format(*values) for values in objects)))


@pytest.fixture
def root(tmp_path, write_photo):
    for name in ("train/n02/n02_1.JPEG", "train/n01/n01_2.JPEG", "train/n01/n01_1.JPEG"):
        write_photo(tmp_path / name, format="JPEG")
    for name in ("val/v1.JPEG", "val/v2.JPEG"):
        write_photo(tmp_path / name, format="JPEG")
    annotate(tmp_path / "boxes" / "v1.xml", ("n02", 13, 9, 61, 41), ("n02", 0, 1, 120, 80))
    annotate(tmp_path / "boxes" / "v2.xml", ("n01", 1, 1, 13, 9))
    return tmp_path


def test_flat_val_with_xml(root, data_config):
    dataset = load_dataset(data_config("imagenet", root, {"imagenet.boxes": "boxes"}), seed=0)
    assert dataset.classes == ["n01", "n02"]
    assert [(record.path, record.label) for record in dataset.splits["train"]] == [
        ("train/n01/n01_1.JPEG", 0),
        ("train/n01/n01_2.JPEG", 0),
        ("train/n02/n02_1.JPEG", 1),
    ]
    test = dataset.splits["test"]
    assert [(record.path, record.label, record.size) for record in test] == [
        ("val/v1.JPEG", 1, (120, 80)),
        ("val/v2.JPEG", 0, (120, 80)),
    ]
    np.testing.assert_allclose(test[0].boxes, [[0.1, 0.1, 0.5, 0.5], [0, 0, 119 / 120, 79 / 80]])
    assert dataset.read(test[0]).shape == (8, 12, 3)


def test_val_in_folders_takes_the_boxes_of_its_own_class(root, data_config):
    (root / "val" / "n02").mkdir()
    (root / "val" / "v1.JPEG").rename(root / "val" / "n02" / "v1.JPEG")
    (root / "val" / "v2.JPEG").unlink()
    annotate(root / "boxes" / "v1.xml", ("n01", 1, 1, 13, 9), ("n02", 13, 9, 61, 41))
    dataset = load_dataset(data_config("imagenet", root, {"imagenet.boxes": str(root / "boxes")}), seed=0)
    (record,) = dataset.splits["test"]
    assert record.label == 1
    np.testing.assert_allclose(record.boxes, [[0.1, 0.1, 0.5, 0.5]])
    (without,) = load_dataset(data_config("imagenet", root), seed=0).splits["test"]
    assert (without.label, without.size, len(without.boxes)) == (1, (12, 8), 0)


def test_boxes_in_wsolevaluation_lists(root, data_config):
    lists = root / "metadata"
    lists.mkdir()
    (lists / "image_ids.txt").write_text("val/v2.JPEG\nval/v1.JPEG")
    (lists / "class_labels.txt").write_text("val/v1.JPEG,1\nval/v2.JPEG,0")
    (lists / "image_sizes.txt").write_text("val/v1.JPEG,120,80\nval/v2.JPEG,12,8")
    (lists / "localization.txt").write_text("val/v1.JPEG,12,8,60,40\nval/v2.JPEG,0,0,6,8")
    dataset = load_dataset(data_config("imagenet", root, {"imagenet.boxes": "metadata/localization.txt"}), seed=0)
    assert [record.path for record in dataset.splits["test"]] == ["val/v2.JPEG", "val/v1.JPEG"]
    np.testing.assert_allclose(dataset.splits["test"][1].boxes, [[0.1, 0.1, 0.5, 0.5]])


def test_wrong_boxes_are_named(root, data_config):
    def load(boxes):
        return load_dataset(data_config("imagenet", root, {"imagenet.boxes": boxes, "on_error": "stop"}), seed=0)

    with pytest.raises(InputError, match=r"imagenet\.boxes: there is no file or folder .*gone"):
        load("gone")
    with pytest.raises(InputError, match="expected one for each class"):
        load("")
    annotate(root / "boxes" / "v2.xml", ("n03", 1, 1, 13, 9))
    with pytest.raises(InputError, match=r"v2\.xml: synset 'n03' has no folder in train/"):
        load("boxes")
    annotate(root / "boxes" / "v2.xml", ("n01", 1, 1, 13, 9), ("n02", 1, 1, 13, 9))
    with pytest.raises(InputError, match="expected boxes of one synset"):
        load("boxes")
    annotate(root / "boxes" / "v2.xml", ("n01", 13, 9, 13, 9))
    with pytest.raises(InputError, match=r"val/v2\.JPEG: box .* is empty"):
        load("boxes")
    (root / "boxes" / "v2.xml").unlink()
    with pytest.raises(InputError, match=r"v2\.xml: no such file"):
        load("boxes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "not XML"),
        ("<annotation><size><width>x</width><height>9</height></size></annotation>", "'x' is not a whole number"),
        (XML.format(OBJECT.format("n01", 1, 2, "x", 4)), "expected numbers"),
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]>\n' + XML.format(""), "document type"),
    ],
)
def test_xml_that_is_not_read(tmp_path, text, message):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_xml(tmp_path / "a.xml")


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>", "<size></size>"])
def test_an_annotation_without_size_takes_the_photos_own(root, data_config, size):
    text = "<annotation>" + size + OBJECT.format("n01", 1, 1, 13, 9) + "</annotation>"
    (root / "boxes" / "v2.xml").write_text(text)
    dataset = load_dataset(data_config("imagenet", root, {"imagenet.boxes": "boxes", "on_error": "stop"}), seed=0)
    record = dataset.splits["test"][1]
    assert record.size == (12, 8)
    np.testing.assert_allclose(record.boxes, [[0, 0, 1, 1]])


def test_a_photo_with_a_wrong_annotation_is_left_out(root, data_config):
    (root / "boxes" / "v2.xml").unlink()
    dataset = load_dataset(data_config("imagenet", root, {"imagenet.boxes": "boxes"}), seed=0)
    assert [record.path for record in dataset.splits["test"]] == ["val/v1.JPEG"]


def test_blacklisted_photos_are_left_out(root, data_config):
    (root / "val" / "v1.JPEG").rename(root / "val" / "ILSVRC2012_val_00000036.JPEG")
    (root / "boxes" / "v1.xml").rename(root / "boxes" / "ILSVRC2012_val_00000036.xml")
    (root / "blacklist.txt").write_text("36\n50")
    keys = {"imagenet.boxes": "boxes", "imagenet.blacklist": "blacklist.txt"}
    dataset = load_dataset(data_config("imagenet", root, keys), seed=0)
    assert [record.path for record in dataset.splits["test"]] == ["val/v2.JPEG"]
    with pytest.raises(InputError, match=r"gone\.txt: no such file"):
        load_dataset(data_config("imagenet", root, keys | {"imagenet.blacklist": "gone.txt"}), seed=0)


def test_no_training_folder(tmp_path, data_config):
    with pytest.raises(InputError, match="has no folder train/"):
        load_dataset(data_config("imagenet", tmp_path), seed=0)


def test_boxes_of_other_synsets_are_counted(root, data_config, caplog):
    logging.use_python_logging(quiet=True)
    for name, folder in (("v1", "n02"), ("v2", "n02")):
        (root / "val" / folder).mkdir(exist_ok=True)
        (root / "val" / f"{name}.JPEG").rename(root / "val" / folder / f"{name}.JPEG")
    load_dataset(data_config("imagenet", root, {"imagenet.boxes": "boxes"}), seed=0)
    assert "1 boxes are of another synset than their photo's and are left out" in caplog.text
    assert "1 photos have no box of their synset" in caplog.text


def test_many_annotations_are_read_at_once_and_stay_with_their_photos(root, data_config, monkeypatch):
    """A store answers late: each of two files is read while the other one is not done."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    both, original = threading.Barrier(2, timeout=60), imagenet.read_xml
    monkeypatch.setattr(imagenet, "read_xml", lambda file: both.wait() is None or original(file))
    test = load_dataset(data_config("imagenet", root, {"imagenet.boxes": "boxes"}), seed=0).splits["test"]
    assert [(record.path, record.label, len(record.boxes)) for record in test] == [
        ("val/v1.JPEG", 1, 2),
        ("val/v2.JPEG", 0, 1),
    ]
