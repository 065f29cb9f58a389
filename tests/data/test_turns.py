"""Photos that EXIF turns, in every dataset: the object stays in its box and in its mask."""

import json

import numpy as np
import pytest
from absl import logging
from PIL import Image

from wsol_jax.data import frames, load_dataset

BOX, SIZE = (10, 20, 60, 100), (160, 120)
NAMES = [f"{orientation}.jpg" for orientation in range(1, 9)]
XML = """<annotation><size><width>160</width><height>120</height></size><object><name>n1</name><bndbox><xmin>11</xmin>
<ymin>21</ymin><xmax>61</xmax><ymax>101</ymax></bndbox></object></annotation>"""


def write(folder, size=SIZE, masks=None):
    """A photo for each orientation, red in BOX of its stored pixels, and a mask of the same pixels."""
    folder.mkdir(parents=True)
    red = np.zeros((size[1], size[0]), bool)
    red[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    for orientation, name in enumerate(NAMES, start=1):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(np.where(red[..., None], (255, 0, 0), (0, 0, 255)).astype(np.uint8)).save(
            folder / name, exif=exif, quality=95
        )
        if masks:
            masks.mkdir(parents=True, exist_ok=True)
            Image.fromarray(red).save((masks / name).with_suffix(".png"))


def write_lists(root, size=SIZE, box=BOX, sizes=True, **options):
    write(root / "images", size, **options)
    lists = root / "metadata" / "test"
    lists.mkdir(parents=True)
    rows = {
        "image_ids": "",
        "class_labels": ",0",
        "image_sizes": f",{size[0]},{size[1]}",
        "localization": "," + ",".join(map(str, box)),
    }
    for file, columns in rows.items():
        lines = [name + columns for name in NAMES if sizes or file != "image_sizes"]
        (lists / f"{file}.txt").write_text("\n".join(lines))
    (lists / "masks.txt").write_text("\n".join(f"{name},{name[0]}.png" for name in NAMES))


def shares(dataset, split="test"):
    """The share of each true box that is red, and of the red pixels that lie in it."""
    found = []
    for record in dataset.splits[split]:
        photo = dataset.read(record).astype(int)
        assert photo.shape[1::-1] == record.size
        red = photo[..., 0] - photo[..., 2] > 0
        (box,) = np.round(record.boxes * np.tile(record.size, 2)).astype(int)
        found.append(
            (red[box[1] : box[3], box[0] : box[2]].mean(), red[box[1] : box[3], box[0] : box[2]].sum() / red.sum())
        )
        if record.masks:
            side = 96
            square = np.asarray(Image.fromarray(red).resize((side, side), Image.Resampling.NEAREST))
            assert ((dataset.read_mask(record, side) == 1) != square).mean() < 0.03
    return np.array(found)


@pytest.fixture
def logged(caplog):
    logging.use_python_logging(quiet=True)
    return caplog


def test_lists(tmp_path, data_config, logged):
    write_lists(tmp_path, masks=tmp_path / "masks")
    keys = {"lists.train": "", "lists.masks": "masks.txt", "lists.mask_dir": "masks"}
    found = shares(load_dataset(data_config("lists", tmp_path, keys), seed=0))
    assert len(found) == 8 and found.min() > 0.97
    assert "4 were drawn on the stored pixels and are turned, 0 are upright, 3 show neither" in logged.text
    assert "are taken as stored; --config.data.annotation_frame=stored or upright decides" in logged.text


def test_masks_decide_where_no_size_is_given(tmp_path, data_config):
    write_lists(tmp_path, sizes=False, masks=tmp_path / "masks")
    keys = {"lists.train": "", "lists.masks": "masks.txt", "lists.mask_dir": "masks"}
    assert shares(load_dataset(data_config("lists", tmp_path, keys), seed=0)).min() > 0.97


def test_boxes_decide_that_only_one_frame_has_room_for(tmp_path, data_config):
    write_lists(tmp_path, sizes=False, box=(100, 5, 150, 50))
    dataset = load_dataset(data_config("lists", tmp_path, {"lists.train": ""}), seed=0)
    for record in dataset.splits["test"]:
        orientation = int(record.path[-5])
        expected = frames.turned_boxes(np.array([[100 / 160, 5 / 120, 150 / 160, 50 / 120]]), orientation)
        np.testing.assert_allclose(record.boxes, expected)


@pytest.mark.parametrize(("size", "sizes"), [((120, 120), True), (SIZE, False)])
def test_where_nothing_decides_a_key_does(tmp_path, data_config, logged, size, sizes):
    write_lists(tmp_path, size, sizes=sizes, masks=None)
    load = lambda frame: load_dataset(  # noqa: E731
        data_config("lists", tmp_path, {"lists.train": "", "annotation_frame": frame}), seed=0
    )
    assert shares(load("auto"))[1:].min() < 0.5
    assert (
        "annotations of 7 photos that EXIF turns" in logged.text
        and "7 show neither and are taken as upright" in logged.text
    )
    assert np.array_equal(shares(load("auto")), shares(load("upright")))
    assert shares(load("stored")).min() > 0.97


def test_upright_annotations_stay(tmp_path, data_config):
    write_lists(tmp_path)
    for file, text in (("image_sizes", "120,160"), ("localization", "1,2,119,158")):
        (tmp_path / "metadata" / "test" / f"{file}.txt").write_text("\n".join(f"{name},{text}" for name in NAMES[4:]))
    for file, text in (("image_ids", ""), ("class_labels", ",0")):
        (tmp_path / "metadata" / "test" / f"{file}.txt").write_text("\n".join(name + text for name in NAMES[4:]))
    dataset = load_dataset(data_config("lists", tmp_path, {"lists.train": ""}), seed=0)
    for record in dataset.splits["test"]:
        assert record.size == (120, 160) and dataset.read(record).shape == (160, 120, 3)
        np.testing.assert_allclose(record.boxes, [[1 / 120, 2 / 160, 119 / 120, 158 / 160]])


def test_cub(tmp_path, data_config):
    write(tmp_path / "images", masks=tmp_path / "segmentations")
    rows = {"images": "{}.jpg", "image_class_labels": "1", "bounding_boxes": "10 20 50 80", "train_test_split": "0"}
    for file, text in rows.items():
        (tmp_path / f"{file}.txt").write_text("\n".join(f"{i} {text.format(i)}" for i in range(1, 9)))
    (tmp_path / "train_test_split.txt").write_text("1 1\n" + "\n".join(f"{i} 0" for i in range(2, 9)))
    assert shares(load_dataset(data_config("cub", tmp_path), seed=0)).min() > 0.97  # its masks show the frame


def test_imagenet(tmp_path, data_config):
    write(tmp_path / "train" / "n1")
    write(tmp_path / "val" / "n1")
    (tmp_path / "boxes").mkdir()
    for name in NAMES:
        (tmp_path / "boxes" / name).with_suffix(".xml").write_text(XML)
    assert shares(load_dataset(data_config("imagenet", tmp_path, {"imagenet.boxes": "boxes"}), seed=0)).min() > 0.97


def test_coco_and_voc(tmp_path, data_config):
    write(tmp_path / "photos")
    polygon = [10, 20, 60, 20, 60, 100, 10, 100]
    instances = {
        "images": [{"id": i, "file_name": name, "width": 160, "height": 120} for i, name in enumerate(NAMES)],
        "categories": [{"id": 7, "name": "n1"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 7, "bbox": [10, 20, 50, 80], "segmentation": [polygon]}
            for i in range(8)
        ],
    }
    (tmp_path / "test.json").write_text(json.dumps(instances))
    keys = {"coco.train": "", "coco.test": "test.json", "coco.test_images": "photos"}
    assert shares(load_dataset(data_config("coco", tmp_path, keys), seed=0)).min() > 0.97
    for name in NAMES:
        (tmp_path / "photos" / name).with_suffix(".xml").write_text(XML)
    keys = {"voc.train": "", "voc.test": "photos", "voc.annotations": ""}
    assert shares(load_dataset(data_config("voc", tmp_path, keys), seed=0)).min() > 0.97


def test_a_size_turned_without_exif_is_logged(tmp_path, data_config, logged, write_photo):
    write_lists(tmp_path)
    write_photo(tmp_path / "images" / "1.jpg", (120, 160))
    load_dataset(data_config("lists", tmp_path, {"lists.train": ""}), seed=0)
    assert "1 photos have the width for height of their annotation and no EXIF" in logged.text
    assert "images/1.jpg" in logged.text
