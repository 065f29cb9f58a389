"""Files that are complete or absent, and safe names."""

import io
import json

import pytest

from wsol_jax.files import file_name, write_atomically, write_json_list


def test_a_file_is_written_with_its_folder_and_nothing_else(tmp_path):
    path = tmp_path / "a" / "b" / "c.bin"
    write_atomically(path, lambda file: file.write(b"all of it"))
    assert path.read_bytes() == b"all of it"
    assert list(path.parent.iterdir()) == [path]


def test_an_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")

    def stop_halfway(file):
        file.write(b"ne")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_atomically(path, stop_halfway)
    assert path.read_bytes() == b"old"
    write_atomically(path, lambda file: file.write(b"new"))
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"new"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "C:\\x", "ёж", "", "x" * 500, "\0", "a b"])
def test_names_stay_in_their_folder(name, tmp_path):
    path = tmp_path / file_name(7, name)
    path.touch()
    assert path.name.startswith("0007_") and path.resolve().parent == tmp_path.resolve()


def test_a_plain_name_is_kept():
    assert file_name(12, "001.Black-footed_Albatross") == "0012_001.Black-footed_Albatross"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError("9 requested and 3 written")])
def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(error, tmp_path):
    def fail(file):
        file.write(b"part of it")
        raise error

    with pytest.raises(OSError, match=r"c\.bin cannot be written \((No space left|9 requested).*is the disk full"):
        write_atomically(tmp_path / "c.bin", fail)
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_its_folder_is_named(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(OSError, match=r"a/c\.bin cannot be written"):
        write_atomically(tmp_path / "a" / "c.bin", lambda file: file.write(b""))


def test_a_full_device_is_one_line(tmp_path):
    (tmp_path / "a").symlink_to("/dev/full")

    def to_full(_):
        with (tmp_path / "a").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(tmp_path / "c.bin", to_full)


@pytest.mark.parametrize("count", [0, 1, 4096, 4097, 10_000])
def test_a_json_list_that_is_written_in_parts_is_that_of_json(count):
    items, file = [{"a": [number, "é"], "b": {}} for number in range(count)], io.BytesIO()
    write_json_list(file, iter(items))
    assert file.getvalue() == json.dumps(items).encode()
