"""Paths in a store behave as local ones do; its errors name the path."""

from pathlib import Path

import pytest

from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import RemotePath, StoreError, copy_folder, readable, remove, to_path, within

FILES = {"a.json": b"{}", "b/c.txt": "\ufefföne\r\ntwo\n".encode(), "b/d/e.txt": b"", "b.txt": b"b"}
PLACES = [*FILES, "b", "b/d", "absent", "b/absent.txt"]


@pytest.fixture
def both(store, tmp_path):
    """The same files in a folder and in the store."""
    remote = to_path("gs://bucket/root")
    for root in (tmp_path / "root", remote):
        for name, content in FILES.items():
            write_atomically(root / name, lambda file, content=content: file.write(content))
    return tmp_path / "root", remote


def names(root, paths) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in paths)


@pytest.mark.parametrize("place", ["a/b", "/a", "~/a", ".", "gs:/b", "C:\\x", "x=gs://a"])
def test_what_has_no_scheme_is_a_path_of_this_machine(place):
    assert type(to_path(place)) is type(Path()) and to_path(place) == Path(place)


def test_a_path_in_a_store_keeps_its_scheme():
    path = to_path("gs://bucket/a/b.txt")
    assert str(path) == f"{path}" == path.as_posix() == "gs://bucket/a/b.txt"
    assert str(path.parent) == "gs://bucket/a" and path.parents[1] == to_path("gs://bucket")
    assert str(path.with_suffix(".rows")) == "gs://bucket/a/b.rows" and path.name == "b.txt"
    assert path.resolve() == path.expanduser() == to_path(path) == path and isinstance(path.parent / "x", RemotePath)
    assert path.is_relative_to(path.parents[1]) and not path.is_relative_to(Path("/bucket"))


def test_an_unknown_kind_of_store_is_one_line():
    with pytest.raises(InputError, match=r"ftp://a/b: no such kind of store; expected a folder, or gs://"):
        to_path("ftp://a/b")


def test_a_place_starts_from_the_root_unless_it_is_whole(store):
    assert within(Path("/r"), "a") == Path("/r/a") and within(Path("/r"), "/a") == Path("/a")
    assert within(to_path("gs://bucket"), "a") == within(Path("/r"), "gs://bucket/a") == to_path("gs://bucket/a")


@pytest.mark.parametrize("place", PLACES)
def test_questions_have_the_same_answers(both, place):
    local, remote = (root / place for root in both)
    for question in ("exists", "is_file", "is_dir", "is_symlink"):
        assert getattr(remote, question)() == getattr(local, question)(), question
    for pattern in ("*", "*.txt"):
        assert names(remote, remote.glob(pattern)) == names(local, local.glob(pattern))
        assert names(remote, remote.rglob(pattern)) == names(local, local.rglob(pattern))
    if local.is_dir():
        assert names(remote, remote.iterdir()) == names(local, local.iterdir())


@pytest.mark.parametrize("place", FILES)
def test_contents_are_the_same(both, place):
    local, remote = (root / place for root in both)
    assert remote.read_bytes() == local.read_bytes() == FILES[place]
    assert remote.stat().st_size == local.stat().st_size
    assert remote.read_text(encoding="utf-8-sig") == local.read_text(encoding="utf-8-sig")
    for keys in (dict(), dict(newline="")):
        with remote.open("r", encoding="utf-8", **keys) as ours, local.open("r", encoding="utf-8", **keys) as theirs:
            assert list(ours) == list(theirs)
    assert readable(local) is local and readable(remote).read() == FILES[place]


@pytest.mark.parametrize("act", ["read_bytes", "stat", "unlink"])
def test_what_is_absent_is_not_found(store, act):
    with pytest.raises(FileNotFoundError, match="gs://bucket/absent"):
        getattr(to_path("gs://bucket/absent"), act)()


def test_a_file_is_written_at_once_or_not_at_all(both, store):
    _, remote = both
    store.written.clear()
    write_atomically(remote / "a.json", lambda file: [file.write(b"1"), file.write(b"2")])
    assert store.written == ["root/a.json"] and (remote / "a.json").read_bytes() == b"12"

    def stop_halfway(file):
        file.write(b"3")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(remote / "a.json", stop_halfway)
    assert (remote / "a.json").read_bytes() == b"12"
    with pytest.raises(ValueError, match="an object is written whole"):
        remote.open("a")


def test_a_store_that_refuses_is_one_line_that_names_the_path(both, store):
    store.refuses = True
    for act in (lambda path: path.read_bytes(), lambda path: path.write_bytes(b""), lambda path: path.create(b"")):
        with pytest.raises(StoreError, match=r"403|PERMISSION_DENIED") as error:
            act(both[1] / "a.json")
        assert "gs://bucket/root/a.json" in str(error.value) and "\n" not in str(error.value)


def test_of_two_that_create_an_object_one_does(store):
    path = to_path("gs://bucket/run/one")
    path.create(b"mine")
    with pytest.raises(FileExistsError, match="gs://bucket/run/one"):
        path.create(b"yours")
    path.remove_if(b"yours")
    assert path.read_bytes() == b"mine"
    path.remove_if(b"mine")
    path.remove_if(b"mine")
    assert not path.exists()


def test_folders_are_copied_and_removed_between_all_places(both, tmp_path):
    remote = both[1]
    for number, source in enumerate(both):
        for target in (tmp_path / f"copy{number}", remote.parent / f"copy{number}"):
            copy_folder(source, target)
            assert {name: (target / name).read_bytes() for name in FILES} == FILES
            remove(target / "b")
            remove(target / "absent")
            remove(target / "a.json")
            assert names(target, target.rglob("*")) == ["b.txt"]
