import numpy as np
import pytest
from PIL import Image

from wsol_jax.data import load_dataset, scenes
from wsol_jax.errors import InputError


@pytest.fixture
def load(data_config):
    def make(seed=0, size=64, classes=5, train=20):
        keys = {"size": size, "classes": classes, "train": train, "test": 10}
        return load_dataset(data_config("scenes", changes={f"scenes.{key}": keys[key] for key in keys}), seed)

    return make


def test_a_scene_depends_on_its_name_and_the_seed(load):
    dataset, again, other = load(), load(train=12), load(seed=1)
    assert {name: len(records) for name, records in dataset.splits.items()} == {"train": 20, "test": 10}
    assert np.bincount([record.label for record in dataset.splits["train"]]).tolist() == [4] * 5
    first, test = dataset.splits["train"][0], dataset.splits["test"][0]
    assert first.path == "scenes/train/00000.png"
    image = dataset.read(first)
    assert image.dtype == np.uint8
    assert image.shape == (64, 64, 3)
    assert np.array_equal(image, again.read(again.splits["train"][0]))
    assert not np.array_equal(image, other.read(other.splits["train"][0]))
    assert not np.array_equal(image, dataset.read(test))


@pytest.mark.parametrize("size", [16, 64, 224])
def test_the_box_is_tight_around_the_mask(load, size):
    dataset = load(size=size)
    for record in dataset.splits["train"]:
        mask = dataset.read_mask(record, size)
        assert mask.dtype == np.uint8
        assert mask.shape == (size, size)
        assert set(np.unique(mask)) == {0, 1}
        x0, y0, x1, y1 = np.rint(record.boxes[0] * size).astype(int)
        rows, columns = np.nonzero(mask)
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(record.boxes[0] * size, (x0, y0, x1, y1), atol=1e-9)
        assert 0.05 < mask.mean() < 0.42
        assert 0 <= x0 < x1 <= size
        assert 0 <= y0 < y1 <= size


def test_every_size_shows_the_same_picture(load):
    small, large = load(size=56), load(size=224)
    for a, b in zip(small.splits["test"], large.splits["test"], strict=True):
        assert abs(a.boxes - b.boxes).max() < 1.5 / 56
        reduced = np.asarray(Image.fromarray(large.read(b)).reduce(4), float)
        assert abs(small.read(a) - reduced).mean() < 12
        assert np.array_equal(large.read_mask(b, 56), large.read_mask(b, 224)[::4, ::4])


def test_the_class_changes_a_small_part_alone(load):
    dataset = load(size=224)
    for record in dataset.splits["train"][:10]:
        image = dataset.read(record).astype(int)
        changed = (image != dataset.read(record._replace(label=(record.label + 1) % 5))).any(axis=-1)
        mask = dataset.read_mask(record, 224) == 1
        assert 0.03 * mask.sum() < changed.sum() < 0.07 * mask.sum()
        assert not (changed & ~mask).any()


def test_the_pebble_differs_from_the_ground(load):
    dataset = load(size=224)
    differences = []
    for record in dataset.splits["train"]:
        image, mask = dataset.read(record), dataset.read_mask(record, 224) == 1
        differences.append(abs(image[mask].mean(axis=0) - image[~mask].mean(axis=0)).max())
    assert np.median(differences) > 25


def test_more_classes_than_patterns(load):
    dataset = load(classes=7)
    assert len(set(dataset.classes)) == 7
    a, b = (dataset.splits["train"][0]._replace(label=label) for label in (0, len(scenes.PATTERNS)))
    assert not np.array_equal(dataset.read(a), dataset.read(b))


def test_numbers_that_are_too_small(load):
    with pytest.raises(InputError, match=r"--config\.data\.scenes\.size: expected at least 16, got 0"):
        load(size=0)
    with pytest.raises(InputError, match="class 'rings' has no training photo, nor have 1 others"):
        load(train=3)
