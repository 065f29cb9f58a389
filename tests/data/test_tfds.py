import time

import numpy as np
import pytest
from absl import logging
from PIL import Image

from wsol_jax.data import load_dataset
from wsol_jax.errors import InputError

NAME = "wsol_three_photos"
PHOTOS = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data_dir with a prepared dataset of three photos, whose boxes are (ymin, xmin, ymax, xmax)."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    for name, boxes in ((NAME, "bbox"), (f"{NAME}_objects", "objects"), (f"{NAME}_unlabelled", "")):
        features = {"image": tfds.features.Image(encoding_format="png")}
        if boxes:
            features["label"] = tfds.features.ClassLabel(names=["auk", "bee"])
        box = tfds.features.BBoxFeature()
        features |= {"bbox": {"bbox": box}, "objects": {"objects": tfds.features.Sequence({"bbox": box})}}.get(
            boxes, {}
        )
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=tfds.features.FeaturesDict(features),
            split_datasets={"train": list(examples(boxes, (0, 1))), "test": list(examples(boxes, (2,)))},
            data_dir=folder,
        )
    return folder


def examples(boxes, numbers):
    import tensorflow_datasets as tfds

    for number in numbers:
        example = {"image": PHOTOS[number]}
        if boxes:
            example["label"] = number % 2
        if boxes == "bbox":
            example["bbox"] = tfds.features.BBox(ymin=0.25, xmin=0.5, ymax=0.75, xmax=1.0)
        if boxes == "objects":
            example["objects"] = [{"bbox": tfds.features.BBox(0.0, 0.5, 0.5, 1.0)}] * number
        yield number, example


def test_reads_photos_labels_and_boxes(folder, data_config):
    dataset = load_dataset(data_config("tfds", folder, {"tfds.name": NAME}), seed=0)
    assert list(dataset.classes) == ["auk", "bee"]
    assert sorted(record.path for record in dataset.splits["train"]) == ["train/000000", "train/000001"]
    assert sorted(record.label for record in dataset.splits["train"]) == [0, 1]
    (record,) = dataset.splits["test"]
    assert record.size == (12, 8)
    np.testing.assert_allclose(record.boxes, [[0.5, 0.25, 1.0, 0.75]])
    assert np.array_equal(dataset.read(record), PHOTOS[2])
    with pytest.raises(InputError, match="test/000000 has no mask"):
        dataset.read_mask(record, 8)


def test_any_number_of_boxes(folder, data_config):
    dataset = load_dataset(data_config("tfds", folder, {"tfds.name": f"{NAME}_objects"}), seed=0)
    (record,) = dataset.splits["test"]
    np.testing.assert_allclose(record.boxes, [[0.5, 0, 1, 0.5]] * 2)
    assert sorted(len(record.boxes) for record in dataset.splits["train"]) == [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tfds.name": "no_such_dataset"}, "no dataset 'no_such_dataset'"),
        ({"tfds.name": "huggingface:mnist"}, "code of another source"),
        ({"tfds.name": NAME, "tfds.train": "training"}, r"tfds\.train: .* has no split 'training'; it has t"),
        ({"tfds.name": f"{NAME}_unlabelled"}, "lacks a feature 'image' or a class 'label'"),
    ],
)
def test_wrong_keys_are_named(folder, data_config, changes, message):
    with pytest.raises(InputError, match=message):
        load_dataset(data_config("tfds", folder, changes), seed=0)


def test_without_a_connection_it_stops_at_once(tmp_path, data_config, monkeypatch):
    def refuse(*args, **options):
        raise OSError("no connection")

    monkeypatch.setattr("socket.create_connection", refuse)
    start = time.monotonic()
    with pytest.raises(
        InputError, match=r"caltech_birds2011 is not prepared in .* cannot be reached \(no connection\)"
    ):
        load_dataset(data_config("tfds", tmp_path), seed=0)
    assert time.monotonic() - start < 20


def test_tensorflow_decodes_the_same_bytes(folder, data_config):
    import tensorflow_datasets as tfds

    dataset = load_dataset(data_config("tfds", folder, {"tfds.name": NAME}), seed=0)
    stored = tfds.as_numpy(tfds.builder(NAME, data_dir=folder).as_dataset(split="train"))
    for record, example in zip(dataset.splits["train"], stored, strict=True):
        assert np.array_equal(dataset.read(record), example["image"])
    assert Image.fromarray(example["image"]).size == record.size


@pytest.mark.parametrize(("frame", "share"), [("auto", 0.0), ("upright", 0.0), ("stored", 1.0)])
def test_a_key_gives_the_frame_of_boxes_of_turned_photos(tmp_path, data_config, caplog, frame, share):
    import tensorflow_datasets as tfds

    logging.use_python_logging(quiet=True)
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:40, :60, 0] = 255  # stored top left, upright bottom right
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    bbox = tfds.features.BBox(ymin=0.0, xmin=0.0, ymax=0.5, xmax=0.5)
    example = {"image": str(tmp_path / "a.jpg"), "label": 0, "bbox": bbox}
    features = {"image": tfds.features.Image(encoding_format="jpeg"), "bbox": tfds.features.BBoxFeature()}
    tfds.dataset_builders.store_as_tfds_dataset(
        name="wsol_turned",
        version="1.0.0",
        features=tfds.features.FeaturesDict(features | {"label": tfds.features.ClassLabel(names=["auk"])}),
        split_datasets={"train": [(0, example)]},
        data_dir=tmp_path,
    )
    keys = {"tfds.name": "wsol_turned", "tfds.test": "", "annotation_frame": frame}
    dataset = load_dataset(data_config("tfds", tmp_path, keys), seed=0)
    (record,) = dataset.splits["train"]
    x0, y0, x1, y1 = np.round(record.boxes[0] * (120, 80, 120, 80)).astype(int)
    assert abs((dataset.read(record)[y0:y1, x0:x1, 0] > 128).mean() - share) < 0.03
    assert "boxes of 1 photos of train that EXIF turns are taken as" in caplog.text
