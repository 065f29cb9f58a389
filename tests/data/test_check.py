import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wsol_jax.data import check as checking
from wsol_jax.data import index, load_dataset
from wsol_jax.data.check import _reason as reason
from wsol_jax.data.check import check_photos
from wsol_jax.data.records import digest
from wsol_jax.errors import InputError
from wsol_jax.paths import StoreError, copy_folder, to_path


@pytest.fixture
def dataset(tmp_path, write_photo, data_config):
    for name in ("train/a/1.jpg", "train/a/2.jpg", "train/a/3.jpg", "train/b/1.jpg", "test/a/1.jpg", "test/b/1.jpg"):
        write_photo(tmp_path / "photos" / name, (40, 30))
    truncate(tmp_path / "photos" / "train/a/2.jpg")
    (tmp_path / "photos" / "test/b/1.jpg").write_bytes(b"")
    return load_dataset(data_config("folder", tmp_path / "photos"), seed=0)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def check(dataset, cache=None, on_error="skip", split_names=("train", "test")):
    lines = []
    readable, unreadable = check_photos(dataset, split_names, on_error, cache, lines.append)
    return readable, unreadable, lines


def test_unreadable_photos_are_named_counted_and_left_out(dataset):
    readable, unreadable, lines = check(dataset)
    assert [path for path, _ in unreadable] == ["train/a/2.jpg", "test/b/1.jpg"]
    assert "truncated" in unreadable[0][1]
    assert [r.path for r in readable.splits["train"]] == ["train/a/1.jpg", "train/a/3.jpg", "train/b/1.jpg"]
    assert [r.path for r in readable.splits["test"]] == ["test/a/1.jpg"]
    assert len(lines) == 1
    assert "2 of 6 photos are unreadable" in lines[0]
    assert all(path in lines[0] for path, _ in unreadable)


def test_only_the_chosen_splits_are_checked(dataset):
    assert [path for path, _ in check(dataset, split_names=["test"])[1]] == ["test/b/1.jpg"]


def test_stop_names_the_first(dataset):
    with pytest.raises(InputError, match=r"2 of 6 photos are unreadable, the first is .*train/a/2\.jpg: .*truncated"):
        check(dataset, on_error="stop")
    with pytest.raises(InputError, match="expected 'skip' or 'stop', got 'ignore'"):
        check(dataset, on_error="ignore")


def test_a_class_must_not_lose_its_last_photo(dataset, tmp_path):
    truncate(tmp_path / "photos" / "train/b/1.jpg")
    with pytest.raises(InputError, match="class 'b' has no training photo"):
        check(dataset)


def test_results_are_cached(dataset, tmp_path, monkeypatch):
    cache, read = tmp_path / "work" / "photos.parquet", []
    monkeypatch.setattr(checking, "_reason", lambda of, record: read.append(record.path) or reason(of, record))
    first = check(dataset, cache)
    broken = {"train/a/2.jpg", "test/b/1.jpg"}  # these are tried again, as a package may be installed since
    assert len(read) == 6
    assert check(dataset, cache) == first and set(read[6:]) == broken
    # Other times of the same content: a copy of the dataset is not decoded again.
    os.utime(tmp_path / "photos" / "train/a/1.jpg", ns=(1, 1))
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    copied = dataset._replace(read=dataset.read._replace(root=tmp_path / "copy"))
    assert check(copied, cache)[0].splits == first[0].splits and set(read[8:]) == broken
    # A photo that was repaired is used.
    shutil.copy(tmp_path / "photos" / "train/a/3.jpg", tmp_path / "photos" / "train/a/2.jpg")
    again, unreadable, lines = check(dataset, cache)
    assert [path for path, _ in unreadable] == ["test/b/1.jpg"] and len(lines) == 1
    assert all(not record.content for record in again.splits["train"])


def test_other_pixels_under_the_same_name_are_noticed(dataset, tmp_path):
    cache, photo = tmp_path / "photos.parquet", tmp_path / "photos" / "train/a/1.jpg"
    before, _, _ = check(dataset, cache)
    original, status = photo.read_bytes(), photo.stat()
    other = original[:-20] + bytes(18) + original[-2:]  # whole, with other pixels
    for _ in range(2):
        photo.write_bytes(other)
        os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
        after, _, lines = check(dataset, cache)
        assert any(f"1 of 6 photos have other content than {cache} first had: train/a/1.jpg" in line for line in lines)
        assert digest(after.splits["train"]) != digest(before.splits["train"])
        assert digest(after.splits["test"]) == digest(before.splits["test"])
    photo.write_bytes(original)
    assert digest(check(dataset, cache)[0].splits["train"]) == digest(before.splits["train"])


def test_photos_in_a_store_are_checked_alike(dataset, data_config, store, tmp_path):
    expected, unreadable, _ = check(dataset)
    copy_folder(tmp_path / "photos", to_path("gs://bucket/photos"))
    remote, cache = (
        load_dataset(data_config("folder", "gs://bucket/photos"), seed=0),
        to_path("gs://bucket/photos.json"),
    )
    readable, same, _ = check(remote, cache)
    assert [path for path, _ in same] == [path for path, _ in unreadable]
    assert {n: digest(r) for n, r in readable.splits.items()} == {n: digest(r) for n, r in expected.splits.items()}
    np.testing.assert_array_equal(*(one.read(one.splits["train"][0]) for one in (readable, expected)))
    original = store.objects["photos/train/a/1.jpg"][0]
    store.put("photos/train/a/1.jpg", original[:-20] + bytes(18) + original[-2:])
    _, _, lines = check(remote, cache)
    assert any("1 of 6 photos have other content" in line for line in lines)
    store.refuses = True  # which says nothing about the photos
    with pytest.raises(StoreError, match=r"no access to gs://bucket/photos/train/a/1\.jpg"):
        check(remote)


def test_a_photo_without_a_readable_header_is_decoded_in_spite_of_the_cache(dataset, tmp_path, data_config):
    cache = tmp_path / "photos.parquet"
    check(dataset, cache)
    photo = tmp_path / "photos" / "train/a/1.jpg"
    status = photo.stat()
    photo.write_bytes(bytes(status.st_size))
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = load_dataset(data_config("folder", tmp_path / "photos"), seed=0)
    assert [path for path, _ in check(again, cache)[1]] == ["train/a/1.jpg", "train/a/2.jpg", "test/b/1.jpg"]


def test_digests_that_cannot_be_are_computed_again(dataset, tmp_path):
    cache = tmp_path / "photos.parquet"
    expected = check(dataset, cache)[1]
    known = pq.read_table(cache)
    rows = [row | {"content": "é", "first": "é"} for row in known.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, known.schema), cache)
    _, unreadable, lines = check(dataset, cache)
    assert unreadable == expected and len(lines) == 1
    assert "é" not in pq.read_table(cache).column("content").to_pylist()


@pytest.mark.parametrize("content", ["", "[1]", '{"train/a/2.jpg": 3}', json.dumps({"train/a/2.jpg": [1, 2]})])
def test_a_damaged_cache_is_rebuilt(dataset, tmp_path, content):
    cache = tmp_path / "photos.parquet"
    cache.write_text(content)
    assert len(check(dataset, cache)[1]) == 2
    assert pq.read_table(cache).num_rows == 6


def test_the_file_of_earlier_versions_is_read(dataset, tmp_path, monkeypatch):
    cache = tmp_path / "photos.parquet"
    first = check(dataset, cache)
    columns = pq.read_table(cache).to_pydict().values()
    old = {
        path: [stamp, content, before, reason] for path, *stamp, content, before, reason in zip(*columns, strict=True)
    }
    cache.unlink()
    (tmp_path / "photos.json").write_text(json.dumps(old))
    read = []
    monkeypatch.setattr(checking, "_reason", lambda of, record: read.append(record.path) or reason(of, record))
    assert check(dataset, cache) == first
    assert set(read) == {"train/a/2.jpg", "test/b/1.jpg"} and len(read) == 2
    assert pq.read_table(cache).num_rows == 6


def test_another_workdir_decodes_only_what_no_other_has(dataset, tmp_path, data_config, monkeypatch):
    table, read = tmp_path / "index.parquet", []
    monkeypatch.setattr(index, "SETTLED", 0)
    config = data_config("folder", tmp_path / "photos", {"index": str(table)})
    same = load_dataset(config, seed=0)
    assert digest(same.splits["train"]) == digest(dataset.splits["train"])
    first = check_photos(same, ["train", "test"], "skip", tmp_path / "1.parquet", print, table=table)
    monkeypatch.setattr(checking, "_reason", lambda of, record: read.append(record.path) or reason(of, record))
    assert check_photos(same, ["train", "test"], "skip", tmp_path / "2.parquet", print, table=table) == first
    assert set(read) == {"train/a/2.jpg", "test/b/1.jpg"} and len(read) == 2
    again = check_photos(same, ["train", "test"], "skip", tmp_path / "2.parquet", print, False, table, True)
    assert again == first and len(read) == 3  # the empty file has no header


def test_without_unreadable_photos_nothing_changes(dataset, tmp_path, write_photo):
    for name in ("train/a/2.jpg", "test/b/1.jpg"):
        write_photo(tmp_path / "photos" / name)
    assert check(dataset) == (dataset, [], [])


def test_scenes_are_not_files(data_config):
    scenes = load_dataset(data_config("scenes", changes={"scenes.train": 5, "scenes.size": 16}), seed=0)
    readable, unreadable, _ = check(scenes, on_error="stop")
    assert readable is scenes
    assert unreadable == []


@pytest.mark.real
def test_real_photos_are_whole(shared, data_config):
    birds = load_dataset(data_config("cub", shared / "data" / "birds25" / "CUB_200_2011"), seed=0)
    assert check(birds, split_names=["test"])[1] == []
    assert np.ptp([len(record.boxes) for record in birds.splits["test"]]) == 0
