"""Paths of files, on this machine or in a store of objects such as gs://BUCKET/FOLDER.

Local ones are pathlib's. `RemotePath` has the same methods, as far as this program uses them, on `etils.epath`; where
the code says `Path`, it may be either. A store knows whole objects alone: they are read and written whole, through
memory, and are there whole or not at all; it has no folders to make, no links, no renaming and no memory maps.
"""

import errno
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple

from etils import epath

from wsol_jax.errors import InputError

if TYPE_CHECKING:
    from tensorstore import KvStore

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")
_SECOND = 1_000_000_000  # in nanoseconds
_REASON = 300  # characters of a store's error, whose text may be a page


class Status(NamedTuple):
    """The status of an object in a store, under the names of `os.stat_result`; the times are whole seconds."""

    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int = 0


class StoreError(OSError):
    """A store does not answer, or refuses; an object that is not there is a FileNotFoundError."""


class RemotePath(PurePosixPath):
    """A path in a store, SCHEME://BUCKET/NAME/..., with the methods of `pathlib.Path`.

    Errors of a store's library, which are of many types, become a StoreError or FileNotFoundError that names the path.
    """

    def __str__(self) -> str:
        text = super().__str__()  # with one slash after the scheme, as a path has no empty folders
        return text.replace(":/", "://", 1) if _SCHEME.fullmatch(self.parts[0] if self.parts else "") else text

    def exists(self) -> bool:
        """Return whether there is an object of this name, or one below it."""
        with _errors(self) as store:
            return store.exists()

    def is_dir(self) -> bool:
        """Return whether there are objects below this name."""
        with _errors(self) as store:
            return store.is_dir()

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        with _errors(self) as store:
            return store.is_file()

    def is_symlink(self) -> bool:
        """Return False: a store has no links."""
        return False

    def stat(self) -> Status:
        """Return the size and the time of an object."""
        with _errors(self) as store:
            status = store.stat()
        return Status(status.length, status.mtime * _SECOND)

    def iterdir(self) -> Iterator["RemotePath"]:
        """Yield the paths in this folder, sorted by name."""
        with _errors(self) as store:
            names = sorted(path.name for path in store.iterdir())
        return (self / name for name in names)

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yield the paths in this folder whose names are like the pattern, which has no slash."""
        return (path for path in self.iterdir() if path.match(pattern)) if self.is_dir() else iter(())

    def rglob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yield the paths below this folder, at any depth, whose names are like the pattern."""
        for path in self.glob("*"):
            if path.match(pattern):
                yield path
            yield from path.rglob(pattern)

    def open(self, mode: str = "r", encoding: str = "utf-8", newline: str | None = None) -> IO:
        """Return the content, which is read now, as a file open for reading."""
        if mode not in ("r", "rb"):
            raise ValueError(f"mode {mode!r} of {self}; an object is written whole, by write_bytes")
        content = io.BytesIO(self.read_bytes())
        return content if mode == "rb" else io.TextIOWrapper(content, encoding, newline=newline)

    def read_bytes(self) -> bytes:
        """Return the content."""
        with _errors(self) as store:
            return store.read_bytes()

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the content as text."""
        return self.open("r", encoding).read()

    def write_bytes(self, content: bytes) -> None:
        """Write the object, whole or not at all, in place of one that is there."""
        with _errors(self) as store:
            store.write_bytes(content)

    def create(self, content: bytes) -> None:
        """Write an object of gs:// that does not exist yet; of several hosts that try, one succeeds.

        Raises:
            FileExistsError: it exists.
        """
        with _errors(self):
            store = self._conditional()
            missing = store.read(self.name).result()
            is_new = missing.state == "missing"
            if is_new and store.write(self.name, content, if_equal=missing.stamp.generation).result().generation:
                return
        raise FileExistsError(errno.EEXIST, "it exists already", str(self))

    def remove_if(self, content: bytes) -> None:
        """Remove an object of gs:// that has this content, and no other that takes its place meanwhile."""
        with _errors(self):
            store = self._conditional()
            read = store.read(self.name).result()
            if read.state == "value" and read.value == content:
                store.write(self.name, None, if_equal=read.stamp.generation).result()

    def _conditional(self) -> "KvStore":
        """The folder of this path in TensorStore, which Orbax writes checkpoints with; it knows conditional writes."""
        import tensorstore

        bucket, folder = self.parts[1], "/".join(self.parts[2:-1])
        return tensorstore.KvStore.open(
            {"driver": "gcs", "bucket": bucket, "path": f"{folder}/" if folder else ""}
        ).result()

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        try:
            with _errors(self) as store:
                store.unlink()
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Return at once: a folder is there as soon as an object is in it."""

    def resolve(self) -> "RemotePath":
        """Return the path itself."""
        return self

    def expanduser(self) -> "RemotePath":
        """Return the path itself."""
        return self


def to_path(place: str | os.PathLike) -> Path:
    """Return the path of a text: a `RemotePath` where it begins with SCHEME://, else a `pathlib.Path`.

    Raises:
        InputError: there is no such kind of store.
    """
    text = os.fspath(place)
    if not re.match(rf"{_SCHEME.pattern}//", text):
        return Path(text)
    try:
        epath.Path(text)
    except KeyError as error:
        raise InputError(f"{text}: no such kind of store; expected a folder, or gs://BUCKET/FOLDER") from error
    return RemotePath(text)


def within(root: Path, place: str) -> Path:
    """Return the path of a text that starts from `root` unless it is absolute, begins with ~ or is in a store."""
    path = to_path(place).expanduser()
    return path if isinstance(path, RemotePath) else root / path


def readable(path: Path) -> Path | io.BytesIO:
    """Return a local path, or the content of a remote file, for libraries that open files by themselves."""
    return path.open("rb") if isinstance(path, RemotePath) else path


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it exists."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
    elif isinstance(path, RemotePath):
        with _errors(path) as store:
            store.rmtree(missing_ok=True)
    else:
        shutil.rmtree(path)


def copy_folder(source: Path, target: Path) -> None:
    """Write copies of the files of a folder, at any depth, into another one, which may exist."""
    if not isinstance(source, RemotePath) and not isinstance(target, RemotePath):
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    for path in source.rglob("*"):
        if path.is_file():
            copy = target / path.relative_to(source).as_posix()
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())


@contextmanager
def _errors(path: RemotePath) -> Iterator[epath.Path]:
    """Yield the path in its store, whose errors are of TensorFlow, of fsspec or of TensorStore."""
    try:
        yield epath.Path(str(path))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
        reason = re.split(r" \[\w+='", reason)[0][:_REASON]  # without TensorStore's own state
        if type(error).__name__ == "UnimplementedError":
            reason += "; EPATH_USE_TF=false leaves it to fsspec and the package for this store"
        is_missing = isinstance(error, FileNotFoundError) or type(error).__name__ == "NotFoundError"
        kind, number = (FileNotFoundError, errno.ENOENT) if is_missing else (StoreError, errno.EIO)
        raise kind(number, reason, str(path)) from error
