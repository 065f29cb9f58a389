import os

import pytest
from absl import logging

from wsol_jax.data.walk import photos_below
from wsol_jax.paths import copy_folder, to_path


@pytest.fixture
def root(tmp_path, write_photo, caplog):
    logging.use_python_logging(quiet=True)
    for name in ("p/a/1.jpg", "p/a/deep/2.JPG", "p/b/1.jfif", "p/b/deep/1.mpo", "elsewhere/x/9.png"):
        write_photo(tmp_path / name, format="PNG")
    return tmp_path / "p"


def below(root, *names):
    return photos_below(root, [root / name for name in names])


def test_links_to_folders_are_followed(root):
    (root / "a" / "more").symlink_to(root.parent / "elsewhere")
    (root / "c").symlink_to(root.parent / "elsewhere2")
    (root.parent / "elsewhere2").mkdir()
    (root.parent / "elsewhere2" / "8.png").write_bytes(b"")
    assert below(root, "a", "b", "c") == [
        ["a/1.jpg", "a/deep/2.JPG", "a/more/x/9.png"],
        ["b/1.jfif", "b/deep/1.mpo"],
        ["c/8.png"],
    ]


@pytest.mark.parametrize("target", ["a", ".", "..", "a/deep", "b", "b/deep"])
def test_a_folder_is_read_once(root, caplog, target):
    (root / "a" / "deep" / "link").symlink_to((root / target).resolve())
    assert below(root, "a", "b") == [["a/1.jpg", "a/deep/2.JPG"], ["b/1.jfif", "b/deep/1.mpo"]]
    assert "1 links lead to folders that are read already and are left out: a/deep/link" in caplog.text


def test_links_that_lead_to_each_other_and_twice_to_one_folder(root, caplog):
    (root.parent / "elsewhere" / "back").symlink_to(root / "a")
    (root.parent / "elsewhere" / "self").symlink_to(root.parent / "elsewhere")
    (root / "a" / "z").symlink_to(root.parent / "elsewhere")
    (root / "b" / "y").symlink_to(root.parent / "elsewhere" / "x")
    assert below(root, "a", "b") == [
        ["a/1.jpg", "a/deep/2.JPG", "a/z/x/9.png"],
        ["b/1.jfif", "b/deep/1.mpo"],
    ]
    assert "3 links lead to folders that are read already and are left out: b/y, a/z/back, a/z/self" in caplog.text


def test_the_root_itself(root):
    everything = [["a/1.jpg", "a/deep/2.JPG", "b/1.jfif", "b/deep/1.mpo"]]
    (root / "a" / "loop").symlink_to(root)
    assert photos_below(root, [root]) == everything
    (root.parent / "link").symlink_to(root)
    assert photos_below(root.parent / "link", [root.parent / "link"]) == everything


def test_a_link_to_nothing_is_a_photo_to_be_named(root):
    (root / "b" / "gone.jpg").symlink_to(root / "nothing.jpg")
    assert below(root, "b") == [["b/1.jfif", "b/deep/1.mpo", "b/gone.jpg"]]


def test_what_is_left_out_is_counted(root, caplog, monkeypatch):
    (root / "a" / "notes.txt").write_text("no photo")
    (root / "a" / ".hidden.jpg").write_text("hidden")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert below(root, "a", "b") == [["a/1.jpg"], ["b/1.jfif"]]
    assert "1 files do not have the suffix of a photo and are left out: a/notes.txt" in caplog.text
    assert "2 folders may not be read and are left out: a/deep, b/deep" in caplog.text


def test_in_a_store_the_same_photos_come_in_the_same_order(root, store, caplog):
    for name in (".hidden/1.jpg", "a/notes.txt", "b.c/4.png", "a/.2.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    copy_folder(root, to_path("gs://bucket/p"))
    expected = below(root, "a", "b", "b.c")
    left_out = caplog.text.replace(str(root), "gs://bucket/p")
    caplog.clear()
    assert below(to_path("gs://bucket/p"), "a", "b", "b.c") == expected
    assert "1 files do not have the suffix of a photo and are left out: a/notes.txt" in caplog.text == left_out
    assert photos_below(to_path("gs://bucket/p"), [to_path("gs://bucket/p")]) == photos_below(root, [root])
