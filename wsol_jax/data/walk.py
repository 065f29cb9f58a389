"""The photos below some folders: every folder is read once, links to folders too, whichever way they lead."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import logging

from wsol_jax.data.formats import SUFFIXES
from wsol_jax.errors import InputError
from wsol_jax.paths import RemotePath, to_path

_NAMED = 5


def photos_below(root: Path, folders: Sequence[Path]) -> list[list[str]]:
    """Return the paths of the photos below each of `folders`, at any depth, sorted, relative to `root`.

    Links to folders are followed after all others, unless the folder is read already or holds the root. These links,
    hidden names (.NAME), folders that may not be read and files without the suffix of a photo are left out; all but the
    hidden ones are counted in the log.

    Raises:
        InputError: a name is not UTF-8, in which tables are written.
    """
    walk = _Walk(root, root_is_read=root not in folders)
    found: list[list[str]] = [[] for _ in folders]
    linked = [folder.is_symlink() and folder != root for folder in folders]
    links = [(photos, folder) for photos, folder, is_link in zip(found, folders, linked, strict=True) if is_link]
    for photos, folder, is_link in zip(found, folders, linked, strict=True):
        if not is_link:
            links += [(photos, link) for link in walk.read(folder, photos)]
    while links:
        photos, link = links.pop(0)
        links += [(photos, inner) for inner in walk.read(link, photos)]
    walk.report()
    return [[_utf8(name) for name in sorted(names, key=lambda name: name.split("/"))] for names in found]


class _Walk:
    """The folders that are read already, and what was left out of them."""

    def __init__(self, root: Path, root_is_read: bool) -> None:
        self.root = root
        self.read_already = {_key(parent) for parent in root.resolve().parents} | (
            {_key(root)} if root_is_read else set()
        )
        self.left_out: dict[str, list[Path]] = defaultdict(list)

    def read(self, folder: Path, photos: list[str]) -> list[Path]:
        """Return the links to folders below a folder, and put its photos, relative to the root, into `photos`."""
        links = []
        for place, folders, files in _listed(folder, self._unreadable):
            here = to_path(place)
            if _key(here) in self.read_already:
                self.left_out["links lead to folders that are read already"].append(here)
                folders.clear()
                continue
            self.read_already.add(_key(here))
            prefix = "" if here == self.root else f"{here.relative_to(self.root).as_posix()}/"
            for name in sorted(name for name in files if not name.startswith(".")):
                # Among photos is also a link to nothing, which is named with those that cannot be read.
                if "." in name and name[name.rindex(".") :].lower() in SUFFIXES:
                    photos.append(prefix + name)
                else:
                    self.left_out["files do not have the suffix of a photo"].append(here / name)
            visible = sorted(name for name in folders if not name.startswith("."))
            links += [here / name for name in visible if (here / name).is_symlink()]
            folders[:] = [name for name in visible if not (here / name).is_symlink()]
        return links

    def _unreadable(self, error: OSError) -> None:
        self.left_out["folders may not be read"].append(Path(error.filename))

    def report(self) -> None:
        """Write into the log what was left out."""
        for reason, paths in self.left_out.items():
            named = ", ".join(path.relative_to(self.root).as_posix() for path in paths[:_NAMED])
            more = ", ..." if len(paths) > _NAMED else ""
            logging.warning("%s: %d %s and are left out: %s%s", self.root, len(paths), reason, named, more)


def _listed(folder: Path, on_error: Callable[[OSError], None]) -> Iterator[tuple[str | Path, list[str], list[str]]]:
    """A folder with the names of its folders and files, then what is left of its folders, as `os.walk` does."""
    if not isinstance(folder, RemotePath):
        yield from os.walk(folder, onerror=on_error)
        return
    folders, files = [], []
    for path in folder.iterdir():  # names of photos need no request to the store
        is_file = path.suffix.lower() in SUFFIXES or path.is_file()
        (files if is_file else folders).append(path.name)
    yield folder, folders, files
    for name in folders:
        yield from _listed(folder / name, on_error)


def _key(folder: Path) -> object:
    """What is the same for all paths of a folder."""
    if isinstance(folder, RemotePath):
        return folder
    status = folder.stat()
    return status.st_dev, status.st_ino


def _utf8(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{name!a}: expected a file name in UTF-8") from error
    return name
