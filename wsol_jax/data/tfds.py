"""A dataset of TensorFlow Datasets, prepared on disk or downloadable, with one class label per photo."""

import io
import socket
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax.data import annotations, frames, masks, photos
from wsol_jax.data.headers import read_header
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError
from wsol_jax.paths import to_path
from wsol_jax.progress import track

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

_SECONDS_TO_CONNECT = 5.0
_PORTS = {"http": 80, "https": 443}


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return the splits `tfds.train` and `tfds.test` of the builder `tfds.name`, in its own fixed order.

    The features 'image', 'label' and, if there is one, 'bbox' or 'objects/bbox' are read. The photos are kept in memory
    in their encoding (CUB: 1.1 GB), and decoded when they are read. A photo is named SPLIT/NUMBER.

    Args:
        config: `config.data`. `dir` is TFDS's data_dir, '' for its default.
        seed: unused, as nothing is drawn.

    Raises:
        InputError: the builder or a split does not exist; it is not prepared and cannot be downloaded; a feature is
            missing.
    """
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    builder = _builder(config.tfds.name, config.dir or None)
    features = builder.info.features
    if "image" not in features or "label" not in features or not hasattr(features["label"], "names"):
        raise InputError(f"--config.data.tfds.name: {config.tfds.name} lacks a feature 'image' or a class 'label'")
    _prepare(builder)
    encoded: dict[str, bytes] = {}
    wanted = {"train": config.tfds.train, "test": config.tfds.test}
    frame = config.annotation_frame
    splits = {name: list(_records(builder, name, split, encoded, frame)) for name, split in wanted.items() if split}

    def read(record: Record) -> np.ndarray:
        return photos.read_photo(io.BytesIO(encoded[record.path]), record.path)

    return Dataset(features["label"].names, splits, read, masks.MaskFiles(to_path(builder.data_dir)))


def _builder(name: str, folder: str | None) -> "DatasetBuilder":
    import tensorflow_datasets as tfds

    if ":" in name:
        raise InputError(f"--config.data.tfds.name: {name!r} is code of another source, which is not run")
    try:
        return tfds.builder(name, data_dir=folder, try_gcs=False)
    except Exception as error:  # a builder is a program of its own and may raise any error
        raise InputError(f"--config.data.tfds.name: no dataset {name!r} ({photos.first_line(error)})") from error


def _prepare(builder: "DatasetBuilder") -> None:
    """Download the dataset unless it is prepared; without a connection TFDS itself would retry for minutes."""
    if builder.is_prepared():
        return
    subject = f"the TFDS dataset {builder.name} is not prepared in {builder.data_dir}"
    urls = [urlsplit(url) for url in builder.url_infos or ()]
    for host, port in sorted({(url.hostname, _PORTS[url.scheme]) for url in urls if url.scheme in _PORTS}):
        try:
            socket.create_connection((host, port), timeout=_SECONDS_TO_CONNECT).close()
        except OSError as error:
            raise InputError(f"{subject} and {host} cannot be reached ({error}); prepare it where it can") from error
    try:
        builder.download_and_prepare()
    except Exception as error:  # see _builder
        raise InputError(f"{subject}, and preparing it failed ({photos.first_line(error)})") from error


def _records(
    builder: "DatasetBuilder", name: str, split: str, encoded: dict[str, bytes], frame: str
) -> Iterator[Record]:
    """The records of one split; their photos go into `encoded`. Boxes of TFDS are shares of a size it does not give."""
    turned = 0
    try:
        total = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        available = ", ".join(builder.info.splits)
        raise InputError(
            f"--config.data.tfds.{name}: {builder.name} has no split {split!r}; it has {available}"
        ) from error
    for number, example in enumerate(track(_examples(builder, split), total, f"TFDS {split}")):
        path = f"{name}/{number:06d}"
        encoded[path] = example["image"]
        header = read_header(io.BytesIO(example["image"]), path)
        size, turn = header.size, header.orientation if frame == frames.STORED else 1
        boxes = example.get("bbox", example.get("objects", {}).get("bbox", np.zeros((0, 4))))
        y0, x0, y1, x1 = np.asarray(boxes, np.float64).reshape(-1, 4).T
        pixels = np.stack([x0, y0, x1, y1], axis=-1) * np.array(size * 2)
        normalised = annotations.normalised_boxes(pixels, size, path)
        turned += header.orientation != 1 and len(normalised) > 0
        yield Record(path, int(example["label"]), size, frames.turned_boxes(normalised, turn))
    if turned:
        used = frames.STORED if frame == frames.STORED else frames.UPRIGHT
        logging.warning(
            "boxes of %d photos of %s that EXIF turns are taken as %s; --config.data.annotation_frame=stored or "
            "upright decides",
            *(turned, split, used),
        )


def _examples(builder: "DatasetBuilder", split: str) -> Iterable[dict]:
    import tensorflow_datasets as tfds

    features = builder.info.features
    used: dict = {"image": True, "label": True}
    if "bbox" in features:
        used["bbox"] = True
    elif "objects" in features and "bbox" in features["objects"]:
        used["objects"] = {"bbox": True}
    decoders = tfds.decode.PartialDecoding(used, decoders={"image": tfds.decode.SkipDecoding()})
    return tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False, decoders=decoders))


TFDS = Reader(
    load,
    defaults=dict(
        name="caltech_birds2011",  # of the TensorFlow dataset
        train="train",  # its split of training photos
        test="test",  # its split of test photos
    ),
)
