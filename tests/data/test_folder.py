import os

import pytest
from absl import logging

from wsol_jax.data import load_dataset
from wsol_jax.errors import InputError


@pytest.fixture
def root(tmp_path, write_photo):
    for i in range(10):
        write_photo(tmp_path / "Zoë 🦋" / f"{i}.JPG", format="JPEG")
    write_photo(tmp_path / "a b" / "deep" / "er" / "1.png", (5, 7))
    write_photo(tmp_path / "a b" / ".hidden.png")
    write_photo(tmp_path / "a b" / ".thumbs" / "1.png")
    write_photo(tmp_path / ".cache" / "1.png")
    (tmp_path / "a b" / "notes.txt").write_text("not a photo")
    return tmp_path


def paths(dataset, split):
    return [record.path for record in dataset.splits[split]]


def test_a_folder_for_each_class(root, data_config, caplog):
    caplog.set_level("WARNING")
    logging.use_python_logging(quiet=True)
    dataset = load_dataset(data_config("folder", root), seed=0)
    assert dataset.classes == ["Zoë 🦋", "a b"]
    assert len(dataset.splits["train"]) == 9
    # The only photo of its class stays for training.
    assert paths(dataset, "train")[-1] == "a b/deep/er/1.png"
    assert [record.label for record in dataset.splits["test"]] == [0, 0]
    assert paths(dataset, "test") == sorted(paths(dataset, "test"))
    assert dataset.splits["train"][-1].size == (5, 7)
    assert dataset.read(dataset.splits["train"][-1]).shape == (7, 5, 3)
    assert "1 files do not have the suffix of a photo" in caplog.text


def test_the_seed_decides_which_photos_are_for_testing(root, data_config):
    drawn = [paths(load_dataset(data_config("folder", root), seed), "test") for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    none = load_dataset(data_config("folder", root, {"folder.test_fraction": 0.0}), seed=0)
    assert list(none.splits) == ["train"]
    most = load_dataset(data_config("folder", root, {"folder.test_fraction": 0.99}), seed=0)
    assert len(most.splits["test"]) == 9


def test_train_and_test_folders(tmp_path, write_photo, data_config):
    for name in ("train/b/1.png", "train/a/2.png", "train/a/1.png", "test/b/1.png"):
        write_photo(tmp_path / name)
    dataset = load_dataset(data_config("folder", tmp_path), seed=0)
    assert dataset.classes == ["a", "b"]
    assert paths(dataset, "train") == ["train/a/1.png", "train/a/2.png", "train/b/1.png"]
    assert [(record.path, record.label) for record in dataset.splits["test"]] == [("test/b/1.png", 1)]
    write_photo(tmp_path / "test" / "c" / "1.png")
    with pytest.raises(InputError, match="class 'c' has no training photo"):
        load_dataset(data_config("folder", tmp_path), seed=0)


@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_train_and_val_folders(tmp_path, write_photo, data_config, caplog, val):
    logging.use_python_logging(quiet=True)
    for name in ("train/b/1.png", "train/a/1.png", f"{val}/b/1.png", "extra/b/1.png"):
        write_photo(tmp_path / name)
    dataset = load_dataset(data_config("folder", tmp_path), seed=0)
    assert {split: paths(dataset, split) for split in dataset.splits} == {
        "train": ["train/a/1.png", "train/b/1.png"],
        "test": [f"{val}/b/1.png"],
    }
    assert f"has no test/; the photos of {val}/ are 'test'" in caplog.text
    assert "folders that are no split are left out: extra" in caplog.text
    write_photo(tmp_path / "test" / "a" / "1.png")
    dataset = load_dataset(data_config("folder", tmp_path), seed=0)
    assert (paths(dataset, "val"), paths(dataset, "test")) == ([f"{val}/b/1.png"], ["test/a/1.png"])


def test_one_class(tmp_path, write_photo, data_config, caplog):
    logging.use_python_logging(quiet=True)
    for name in ("birds/auk/1.png", "birds/owl/1.png"):
        write_photo(tmp_path / name)
    dataset = load_dataset(data_config("folder", tmp_path, {"folder.test_fraction": 0.5}), seed=0)
    assert dataset.classes == ["birds"]
    assert sorted(paths(dataset, "train") + paths(dataset, "test")) == ["birds/auk/1.png", "birds/owl/1.png"]
    assert f"--config.data.dir={tmp_path}/birds makes each of them a class" in caplog.text


def test_the_home_folder(root, data_config, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert load_dataset(data_config("folder", f"~/{root.name}"), seed=0).classes == ["Zoë 🦋", "a b"]


def test_photos_without_folders_have_no_label(root, data_config, caplog):
    caplog.set_level("INFO")
    logging.use_python_logging(quiet=True)
    dataset = load_dataset(data_config("folder", root / "Zoë 🦋"), seed=0)
    assert paths(dataset, "train") == [f"{i}.JPG" for i in range(10)] and list(dataset.splits) == ["train"]
    assert {record.label for record in dataset.splits["train"]} == {-1} and list(dataset.classes) == ["object"]
    assert "its 10 photos no labels" in caplog.text
    dataset = load_dataset(data_config("folder", root / "Zoë 🦋", {"val_per_class": 2}), seed=0)
    assert [len(records) for records in dataset.splits.values()] == [8, 2]


def test_wrong_folders_and_fractions_are_named(root, write_photo, data_config):
    with pytest.raises(InputError, match="expected 0 <= fraction < 1, got 1"):
        load_dataset(data_config("folder", root, {"folder.test_fraction": 1.0}), seed=0)
    (root / "empty").mkdir()
    with pytest.raises(InputError, match="has no folder; expected one for each class"):
        load_dataset(data_config("folder", root / "empty"), seed=0)
    with pytest.raises(InputError, match="class 'empty' has no training photo"):
        load_dataset(data_config("folder", root), seed=0)
    (root / "train").mkdir()
    with pytest.raises(InputError, match="has a folder train/; expected both"):
        load_dataset(data_config("folder", root), seed=0)


def test_names_that_are_not_utf8(root, data_config):
    name = os.fsencode(root / "a b") + b"/\xff.png"
    try:
        os.link(root / "a b" / "deep" / "er" / "1.png", name)
    except OSError:
        pytest.skip("this file system refuses such names")
    with pytest.raises(InputError, match="expected a file name in UTF-8"):
        load_dataset(data_config("folder", root), seed=0)
