import numpy as np
import pytest

from wsol_jax.data import DATASETS, load_dataset, splits
from wsol_jax.data.records import NO_BOXES, Dataset, Record
from wsol_jax.errors import InputError


def dataset(counts, test=0):
    """A dataset with `counts[i]` training photos of class i, interleaved."""
    labels = [label for number in range(max(counts)) for label, count in enumerate(counts) if number < count]
    train = [Record(f"{i:03d}.jpg", label, (9, 9), NO_BOXES) for i, label in enumerate(labels)]
    tests = [Record(f"t{i}.jpg", 0, (9, 9), NO_BOXES) for i in range(test)]
    return Dataset([f"class{i}" for i in range(len(counts))], {"train": train, "test": tests}, np.zeros, np.zeros)


def paths(data, split):
    return [record.path for record in data.splits[split]]


def test_val_has_the_same_number_of_each_class_in_order():
    whole = dataset([5, 3, 9], test=2)
    parted = splits.set_aside(whole, 2, seed=0)
    assert np.bincount([record.label for record in parted.splits["val"]]).tolist() == [2, 2, 2]
    assert np.bincount([record.label for record in parted.splits["train"]]).tolist() == [3, 1, 7]
    assert sorted(paths(parted, "train") + paths(parted, "val")) == paths(whole, "train")
    for split in ("train", "val"):
        assert paths(parted, split) == sorted(paths(parted, split))
    assert parted.splits["test"] == whole.splits["test"]


def test_the_seed_alone_decides():
    whole = dataset([20, 20])
    drawn = [paths(splits.set_aside(whole, 5, seed), "val") for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    # Another class's photos change nothing.
    first = {record.path for record in splits.set_aside(whole, 5, 0).splits["val"] if record.label == 0}
    fewer = whole._replace(splits={"train": [r for r in whole.splits["train"] if r.label == 0]})
    assert {record.path for record in splits.set_aside(fewer, 5, 0).splits["val"]} == first


def test_each_class_keeps_a_training_photo():
    with pytest.raises(InputError, match="class 'class1' has 2 training photos; expected at least 3"):
        splits.set_aside(dataset([5, 2]), 2, seed=0)
    with pytest.raises(InputError, match="val_per_class=1, but the dataset has lists of 'val'"):
        splits.set_aside(splits.set_aside(dataset([5]), 1, seed=0), 1, seed=0)
    with pytest.raises(InputError, match="no training photos to set aside"):
        splits.set_aside(dataset([5])._replace(splits={"test": []}), 1, seed=0)


def test_the_same_number_of_each_class_is_kept(caplog):
    records = dataset([20, 3, 8]).splits["train"]
    kept = [splits.keep_per_class(records, 5, seed) for seed in (0, 0, 1)]
    assert [np.bincount([r.label for r in some]).tolist() for some in kept] == [[5, 3, 5]] * 3
    assert kept[0] == kept[1] != kept[2] and kept[0] == sorted(kept[0], key=records.index)
    assert caplog.messages == ["1 of 3 classes have fewer than 5 photos and keep them all"] * 3
    # Another class's photos change nothing.
    alone = splits.keep_per_class([r for r in records if r.label == 2], 5, 0)
    assert alone == [r for r in kept[0] if r.label == 2]


def test_a_sound_dataset():
    splits.require_sound(dataset([1, 2]))
    with pytest.raises(InputError, match="class 'class0' has no training photo, nor have 1 others"):
        splits.require_sound(dataset([0, 2, 0]))
    with pytest.raises(InputError, match="empty"):
        splits.require_sound(dataset([0])._replace(splits={"train": []}))
    whole = dataset([2])
    with pytest.raises(InputError, match=r"1 photos are listed more than once, the first is 001\.jpg"):
        splits.require_sound(whole._replace(splits=whole.splits | {"test": whole.splits["train"][1:]}))


def test_a_missing_folder_is_named(tmp_path, data_config):
    for name in set(DATASETS) - {"scenes", "tfds"}:
        with pytest.raises(InputError, match=r"--config\.data\.dir: there is no folder .*/gone"):
            load_dataset(data_config(name, tmp_path / "gone"), seed=0)
        with pytest.raises(InputError, match="give it with --config"):
            load_dataset(data_config(name), seed=0)


def test_load_dataset_sets_val_aside(data_config):
    changes = {"scenes.train": 12, "scenes.test": 2, "scenes.classes": 3, "scenes.size": 16, "val_per_class": 1}
    loaded = load_dataset(data_config("scenes", changes=changes), seed=0)
    assert {name: len(records) for name, records in loaded.splits.items()} == {"train": 9, "test": 2, "val": 3}
