import numpy as np
import pytest
from absl import logging

from wsol_jax.data import load_dataset
from wsol_jax.errors import InputError


def annotate(file, *objects, size=True):
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    text = "<size><width>12</width><height>8</height></size>" if size else ""
    file.write_text(f"<annotation>{text}{rows}</annotation>")


@pytest.fixture
def root(tmp_path, write_photo, caplog):
    logging.use_python_logging(quiet=True)
    for name in ("000001.jpg", "000002.jpg", "000003.png", "000004.jpg"):
        write_photo(tmp_path / "JPEGImages" / name)
    annotate(tmp_path / "Annotations" / "000001.xml", ("cat", 1, 1, 13, 9))
    annotate(tmp_path / "Annotations" / "000002.xml", ("dog", 1, 1, 7, 9), ("cat", 1, 1, 13, 9), ("dog", 4, 5, 7, 9))
    annotate(tmp_path / "Annotations" / "000003.xml", ("cat", 1, 1, 7, 9), size=False)
    annotate(tmp_path / "Annotations" / "000004.xml")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("000002  1\n000001 -1\n000004\n")
    (lists / "test.txt").write_text("000003\n")
    return tmp_path


def test_the_layout_of_voc(root, data_config, caplog):
    dataset = load_dataset(data_config("voc", root), seed=0)
    assert dataset.classes == ["cat", "dog"]
    assert [(r.path, r.label) for r in dataset.splits["train"]] == [
        ("JPEGImages/000002.jpg", 1),
        ("JPEGImages/000001.jpg", 0),
    ]
    np.testing.assert_allclose(dataset.splits["train"][0].boxes, [[0, 0, 0.5, 1], [0.25, 0.5, 0.5, 1]])
    (test,) = dataset.splits["test"]
    assert (test.path, test.size, test.boxes.tolist()) == ("JPEGImages/000003.png", (12, 8), [[0, 0, 0.5, 1]])
    assert "1 photos have no object and are left out" in caplog.text


def test_any_folder_with_xml_next_to_the_photos(tmp_path, write_photo, data_config):
    for name in ("train/a.jpg", "train/deep/b.jpg", "valid/c.jpg"):
        annotate(write_photo(tmp_path / name).with_suffix(".xml"), ("cat", 1, 1, 7, 9))
    keys = {"voc.train": "train", "voc.test": "valid", "voc.annotations": ""}
    dataset = load_dataset(data_config("voc", tmp_path, keys), seed=0)
    found = {split: [record.path for record in records] for split, records in dataset.splits.items()}
    assert found == {"train": ["train/a.jpg", "train/deep/b.jpg"], "test": ["valid/c.jpg"]}


def test_absent_photos_and_annotations(root, data_config):
    with (root / "ImageSets" / "Main" / "trainval.txt").open("a") as file:
        file.write("000009\n")
    annotate(root / "Annotations" / "000009.xml", ("cat", 1, 1, 7, 9))
    (root / "Annotations" / "000004.xml").unlink()
    dataset = load_dataset(data_config("voc", root), seed=0)
    assert [r.path for r in dataset.splits["train"]] == ["JPEGImages/000002.jpg", "JPEGImages/000001.jpg"]
    with pytest.raises(InputError, match=r"000004\.xml: no such file"):
        load_dataset(data_config("voc", root, {"on_error": "stop"}), seed=0)
    with pytest.raises(InputError, match="no photo has a label; the first: "):
        load_dataset(data_config("voc", root, {"voc.annotations": ""}), seed=0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"voc.train": "gone"}, r"--config\.data\.voc\.train: there is no list or folder"),
        ({"voc.images": "gone"}, r"--config\.data\.voc\.images: there is no folder"),
        ({"voc.label": "x"}, r"--config\.data\.voc\.label is 'x'"),
        ({"voc.train": "../x"}, "expected a relative path"),
    ],
)
def test_wrong_keys(root, data_config, keys, message):
    with pytest.raises(InputError, match=message):
        load_dataset(data_config("voc", root, keys), seed=0)
