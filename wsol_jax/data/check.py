"""The check of a run's photos: each is decoded once before anything is trained, and unreadable ones are named."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from wsol_jax.data.photos import UNREADABLE_SIZE, PhotoFiles, inside
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.splits import require_every_class
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import StoreError
from wsol_jax.progress import track
from wsol_jax.threads import in_parts, in_threads


class Checked(NamedTuple):
    """What is known of a photo's file.

    Attributes:
        stamp: its bytes, and the times of the last change of its content and of its entry in the file system, in
            nanoseconds. The last one cannot be set, so that any change of the content changes the stamp.
        content: a digest of its content.
        first: the digest when it was first read as a photo; '' if it never was.
        reason: why it is unreadable, or ''.
    """

    stamp: list[int]
    content: str
    first: str
    reason: str


_NAMED = 10
_DIGITS = 16  # of a digest, hexadecimal
SMALL = (1, 1)  # enough to know whether a photo can be decoded: libjpeg reads the whole file for it


def check_photos(
    dataset: Dataset,
    split_names: Sequence[str],
    on_error: str,
    cache: Path | None,
    report: Callable[[str], None],
    decode: bool = True,
) -> tuple[Dataset, list[tuple[str, str]]]:
    """Return the dataset without its unreadable photos, after decoding every photo of some splits; or stop.

    Photos that are not files (generated scenes, TFDS) are not checked. The results are kept in `cache`: a readable
    photo whose file has the same length and times as before is not read again; one with other times and the same
    content, such as a copy, is not decoded again. Photos with other content than they first had are reported, and their
    records say so, which changes their digest. Unreadable ones are tried again.

    Args:
        dataset: as `load_dataset` returns it.
        split_names: the splits to check.
        on_error: 'skip' leaves unreadable photos out, 'stop' raises.
        cache: the JSON file of the results, read and written; None for no cache.
        report: receives a line that counts and names the unreadable photos, if some are left out, and one for those
            whose content has changed.
        decode: False for the results in `cache` alone: new and unreadable photos are not read, and nothing is written.

    Returns:
        The dataset without the unreadable photos, and (path, error) of each of them.

    Raises:
        InputError: `on_error` is neither; a photo is unreadable and `on_error` is 'stop'; a class loses its last
            training photo.
    """
    if on_error not in ("skip", "stop"):
        raise InputError(f"--config.data.on_error: expected 'skip' or 'stop', got {on_error!r}")
    if not isinstance(dataset.read, PhotoFiles):
        return dataset, []
    records = [record for name in split_names for record in dataset.splits[name]]
    checked = _check(dataset.read, records, cache, decode)
    readable = {record.path: one for record in records if not (one := checked[record.path]).reason}
    changed = {path: one.content for path, one in readable.items() if one.first != one.content}
    if changed:
        report(f"{len(changed)} of {len(records)} photos have other content than {cache} first had: {_some(changed)}")
        dataset = _with_content(dataset, changed)
    unreadable = [(record.path, checked[record.path].reason) for record in records if checked[record.path].reason]
    if not unreadable:
        return dataset, []
    count = f"{len(unreadable)} of {len(records)} photos are unreadable"
    if on_error == "stop":
        raise InputError(f"{count}, the first is {unreadable[0][1]}; --config.data.on_error=skip leaves them out")
    report(f"{count} and left out: {_some([path for path, _ in unreadable])}; the first is {unreadable[0][1]}")
    dataset = _without(dataset, {path for path, _ in unreadable})
    require_every_class(dataset)
    return dataset, unreadable


def unreadable_photos(cache: Path, root: Path) -> dict[str, str]:
    """Return the photos below `root` that a check could not decode: path -> reason, in alphabetical order.

    Args:
        cache: of `check_photos`.
        root: of the dataset; photos that are no longer there are left out.
    """
    checked = sorted(_read_cache(cache).items())
    return {path: one.reason for path, one in checked if one.reason and (root / path).is_file()}


def _check(read: PhotoFiles, records: Sequence[Record], cache: Path | None, decode: bool) -> dict[str, Checked]:
    """What is known of each photo, by its path; photos that the cache does not know as they are now are read."""
    known = _read_cache(cache)
    stamps = dict(zip((r.path for r in records), in_parts(lambda r: _stamp(read.root, r), records), strict=True))

    def is_new(record: Record) -> bool:
        one = known.get(record.path)
        if record.size == UNREADABLE_SIZE or one is None or one.stamp != stamps[record.path]:
            return True
        return decode and bool(one.reason)

    new = [record for record in records if is_new(record)]
    if not decode:
        known |= {r.path: Checked(stamps[r.path], "", "", "") for r in new if r.path not in known}
        new = [record for record in new if record.size == UNREADABLE_SIZE or known[record.path].content]
    results = in_threads(lambda record: _checked(read, record, stamps[record.path], known.get(record.path)), new)
    checked = list(track(results, len(new), "photo check")) if new else []
    known |= dict(zip((record.path for record in new), checked, strict=True))
    if decode and new and cache is not None:
        content = json.dumps(known).encode()
        write_atomically(cache, lambda file: file.write(content))
    return known


def _stamp(root: Path, record: Record) -> list[int]:
    try:
        status = inside(root, record.path).stat()
    except OSError:
        return [-1, -1, -1]
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _checked(read: PhotoFiles, record: Record, stamp: list[int], before: Checked | None) -> Checked:
    content = _digest(inside(read.root, record.path))
    if before and content == before.content and not before.reason and record.size != UNREADABLE_SIZE:
        return before._replace(stamp=stamp)
    reason = _reason(read, record)
    first = before.first if before and before.first else "" if reason else content
    return Checked(stamp, content, first, reason)


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS]
    except OSError:
        return ""


def _reason(read: PhotoFiles, record: Record) -> str:
    try:
        read.at_least(record, SMALL)
    except InputError as error:
        return str(error)
    return ""


def _read_cache(cache: Path | None) -> dict[str, Checked]:
    """The results of an earlier run; {} if their file is missing or damaged."""
    try:
        checked = json.loads(cache.read_bytes()) if cache is not None else {}
        return {path: Checked(list(stamp), *texts) for path, (stamp, *texts) in checked.items()}
    except StoreError:  # the results may be right
        raise
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _some(paths: Iterable[str]) -> str:
    names = list(islice(paths, _NAMED + 1))
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _with_content(dataset: Dataset, content: Mapping[str, str]) -> Dataset:
    splits = {
        name: [record._replace(content=content.get(record.path, "")) for record in records]
        for name, records in dataset.splits.items()
    }
    return dataset._replace(splits=splits)


def _without(dataset: Dataset, paths: set[str]) -> Dataset:
    splits = {name: [r for r in records if r.path not in paths] for name, records in dataset.splits.items()}
    return dataset._replace(splits=splits)
