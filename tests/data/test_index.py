"""The table of photo files: a header is read once, and again when the file changes."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wsol_jax import processes
from wsol_jax.data import headers, index, load_dataset
from wsol_jax.data.records import digest


@pytest.fixture
def read(monkeypatch):
    """The names of the files whose headers are read."""
    names, original = [], headers.read_header
    monkeypatch.setattr(headers, "read_header", lambda file: names.append(file.name) or original(file))
    monkeypatch.setattr(index, "SETTLED", 0)
    return names


@pytest.fixture
def root(tmp_path, write_photo):
    for number in range(4):
        write_photo(tmp_path / "photos" / "a" / f"{number}.jpg", (40 + number, 30))
    (tmp_path / "photos" / "a" / "2.jpg").write_bytes(b"no photo")
    return tmp_path / "photos"


def test_a_header_is_read_again_only_if_its_file_changes(root, tmp_path, read, write_photo):
    table, paths = tmp_path / "index.parquet", [f"a/{number}.jpg" for number in range(4)]
    expected = headers.read_headers(root, paths, "headers")
    read.clear()
    assert headers.read_headers(root, paths, "headers", table) == expected and len(read) == 4
    assert headers.read_headers(root, paths, "headers", table) == expected
    assert read[4:] == ["2.jpg"]  # it has none to keep
    status = (root / "a" / "1.jpg").stat()
    write_photo(root / "a" / "1.jpg", (50, 60))
    os.utime(root / "a" / "1.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert headers.read_headers(root, paths[:2], "headers", table)[1].size == (50, 60)
    (root / "a" / "0.jpg").unlink()
    changed = headers.read_headers(root, paths, "headers", table)
    assert [header and header.size for header in changed] == [None, (50, 60), None, (43, 30)]
    unchanged = headers.read_headers(root, paths, "headers", table, is_unchanged=True)
    assert [header and header.size for header in unchanged] == [(40, 30), (50, 60), None, (43, 30)]


def test_a_file_that_has_just_changed_is_not_kept(root, tmp_path, read, monkeypatch):
    monkeypatch.setattr(index, "SETTLED", 10**12)
    table = tmp_path / "index.parquet"
    assert headers.read_headers(root, ["a/0.jpg"], "headers", table) == headers.read_headers(root, ["a/0.jpg"], "")
    assert not table.exists()


@pytest.mark.parametrize("content", [b"", b"no table", "other"])
def test_a_damaged_table_is_written_again(root, tmp_path, read, content):
    table = tmp_path / "index.parquet"
    if content == "other":
        index.write_table(table, index.read_table(None, {}), ["a/0.jpg"], index.stamps(root, ["a/0.jpg"]), {})
    else:
        table.write_bytes(content)
    for _ in range(2):
        assert headers.read_headers(root, ["a/0.jpg"], "headers", table)[0].size == (40, 30)
    assert len(read) == 1


def test_a_table_that_cannot_be_written_is_no_error(root, tmp_path, read):
    (tmp_path / "file").write_bytes(b"")
    headers.read_headers(root, ["a/0.jpg"], "headers", tmp_path / "file" / "index.parquet")
    assert read == ["0.jpg"]


def test_records_are_the_same_with_and_without_an_index(root, tmp_path, read, data_config, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loads = [load_dataset(data_config("folder", root, {"index": name}), 0) for name in ("", "auto", "auto")]
    assert len({digest(dataset.splits["train"]) for dataset in loads}) == 1
    assert len(list((tmp_path / "cache").rglob("*.parquet"))) == 1


def test_another_host_keeps_its_own_table_and_writes_none_that_may_be_shared(
    root, tmp_path, read, data_config, monkeypatch
):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        load_dataset(data_config("folder", root, {"index": "auto"}), 0)
    assert sorted(read) == ["0.jpg", "1.jpg", "2.jpg", "2.jpg", "3.jpg"]  # 2.jpg has no header to keep
    load_dataset(data_config("folder", root, {"index": str(tmp_path / "shared.parquet")}), 0)
    assert not (tmp_path / "shared.parquet").exists()


@pytest.mark.parametrize("wrong", [{"width": 0}, {"orientation": 9}, {"depth": "é"}])
def test_a_header_that_cannot_be_is_read_again(root, tmp_path, read, wrong):
    table = tmp_path / "index.parquet"
    expected = headers.read_headers(root, ["a/0.jpg"], "headers", table)
    known = pq.read_table(table)
    pq.write_table(pa.Table.from_pylist([known.to_pylist()[0] | wrong | {"content": "é"}], known.schema), table)
    assert headers.read_headers(root, ["a/0.jpg"], "headers", table) == expected and len(read) == 2
