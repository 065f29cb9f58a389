"""The check of a run's photos: each is decoded once before anything is trained, and unreadable ones are named."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wsol_jax.data import index
from wsol_jax.data.photos import UNREADABLE_SIZE, PhotoFiles, inside
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.splits import require_every_class
from wsol_jax.errors import InputError
from wsol_jax.paths import StoreError
from wsol_jax.progress import track
from wsol_jax.threads import for_files, in_threads


class Checked(NamedTuple):
    """What is known of the files of n photos.

    Attributes:
        stamp: int64 [n, 3], see `index.stamps`.
        content: bytes of a digest of each file's content [n].
        first: the digest when it was first read as a photo [n]; b'' if it never was.
        reason: why it is unreadable [n], or ''.
    """

    stamp: np.ndarray
    content: np.ndarray
    first: np.ndarray
    reason: np.ndarray


_NAMED = 10
_DIGITS = 16  # of a digest, hexadecimal
_COLUMNS = dict.fromkeys(("content", "first", "reason"), pa.string())
SMALL = (1, 1)  # enough to know whether a photo can be decoded: libjpeg reads the whole file for it


def check_photos(
    dataset: Dataset,
    split_names: Sequence[str],
    on_error: str,
    cache: Path | None,
    report: Callable[[str], None],
    decode: bool = True,
    table: Path | None = None,
    is_unchanged: bool = False,
) -> tuple[Dataset, list[tuple[str, str]]]:
    """Return the dataset without its unreadable photos, after decoding every photo of some splits; or stop.

    Photos that are not files (generated scenes, TFDS) are not checked. The results are kept in `cache`: a readable
    photo whose file has the same length and times as before is not read again; one with other times and the same
    content, such as a copy, is not decoded again, nor is one that another workdir has decoded as it is. Photos with
    other content than they first had are reported, and their records hold it, which changes their digest. Unreadable
    ones are tried again.

    Args:
        dataset: as `load_dataset` returns it.
        split_names: the splits to check.
        on_error: 'skip' leaves unreadable photos out, 'stop' raises.
        cache: the Parquet file of the results, read and written; None for no cache. The JSON file that earlier versions
            wrote next to it is read where it is absent.
        report: receives a line that counts and names the unreadable photos, if some are left out, and one for those
            whose content has changed.
        decode: False for the results in `cache` alone: new and unreadable photos are not read, and nothing is written.
        table: that all workdirs share, see `index`; None for none.
        is_unchanged: a file that `cache` knows is not compared with it.

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
    checked = _check(dataset.read, records, cache, decode, table, is_unchanged)
    is_readable = checked.reason == ""
    changed = {
        records[i].path: checked.content[i].decode()
        for i in np.flatnonzero(is_readable & (checked.first != checked.content)).tolist()
    }
    if changed:
        report(f"{len(changed)} of {len(records)} photos have other content than {cache} first had: {_some(changed)}")
        dataset = _with_content(dataset, changed)
    unreadable = [(records[i].path, checked.reason[i]) for i in np.flatnonzero(~is_readable).tolist()]
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
    known = _read_cache(cache)
    known = known.filter(pc.not_equal(known.column("reason"), ""))
    reasons = sorted(zip(*(known.column(name).to_pylist() for name in ("path", "reason")), strict=True))
    return {path: reason for path, reason in reasons if (root / path).is_file()}


def photo_contents(cache: Path, paths: Sequence[str]) -> np.ndarray:
    """Return a digest of the content of n photo files as a check last found them, bytes [n]; b'' where none did.

    Args:
        cache: of `check_photos`.
        paths: of the photos, relative to the dataset's root.
    """
    known = _read_cache(cache)
    return _column(known, "content", index.rows_of(known, paths))


def _check(
    read: PhotoFiles,
    records: Sequence[Record],
    cache: Path | None,
    decode: bool,
    table: Path | None,
    is_unchanged: bool,
) -> Checked:
    """What is known of each photo; those that the cache does not know as they are now are read."""
    paths, known = [record.path for record in records], _read_cache(cache)
    rows = index.rows_of(known, paths)
    stamp, is_same = index.compare(known, rows, read.root, paths, is_unchanged)
    checked = Checked(stamp, *(_column(known, name, rows) for name in _COLUMNS))
    has_header = np.array([record.size != UNREADABLE_SIZE for record in records], bool)
    is_new = ~(has_header & is_same)
    if not decode:
        _read_again(read, records, checked, is_new & (~has_header | (checked.content != b"")))
        return checked
    is_new |= (checked.reason != "") | (checked.content == b"")
    shared = index.read_table(table, index.OF_PHOTOS)
    places = index.rows_of(shared, paths)
    content = _column(shared, "content", places)
    is_shared = (index.stamps_of(shared, places) == stamp).all(axis=1)
    is_decoded = is_new & has_header & is_shared & (content != b"")
    checked.content[is_decoded], checked.reason[is_decoded] = content[is_decoded], ""
    _set_first(checked, is_decoded)
    _read_again(read, records, checked, is_new & ~is_decoded)
    if cache is not None and is_new.any():
        columns = {name: pa.array(column).cast(pa.string()) for name, column in zip(_COLUMNS, checked[1:], strict=True)}
        index.write_table(cache, known, paths, stamp, columns)
    if table is not None and (is_new & ~is_decoded & is_shared).any():
        places[~is_shared | (checked.reason != "")] = index.ABSENT
        _share(table, shared, places, checked.content)
    return checked


def _read_again(read: PhotoFiles, records: Sequence[Record], checked: Checked, wanted: np.ndarray) -> None:
    """Put into `checked` what the files of the wanted photos are now, bool [n]."""

    def state(i: int) -> tuple[bytes, str]:
        content = _digest(inside(read.root, records[i].path))
        is_known = content and content == checked.content[i] and not checked.reason[i]
        return content, "" if is_known and records[i].size != UNREADABLE_SIZE else _reason(read, records[i])

    new = np.flatnonzero(wanted).tolist()
    if not new:
        return
    states = track(in_threads(state, new, threads=for_files(read.root)), len(new), "photo check")
    for i, (content, reason) in zip(new, states, strict=True):
        checked.content[i], checked.reason[i] = content, reason
    _set_first(checked, wanted)


def _set_first(checked: Checked, places: np.ndarray) -> None:
    """Note the content of the photos that are readable for the first time, of those at `places`, bool [n]."""
    places = places & (checked.first == b"") & (checked.reason == "")
    checked.first[places] = checked.content[places]


def _share(table: Path, shared: pa.Table, places: np.ndarray, content: np.ndarray) -> None:
    """Write the digests of photos that were decoded, [n], into their rows of the table of all workdirs."""
    every = _column(shared, "content", np.arange(shared.num_rows))
    every[places[places != index.ABSENT]] = content[places != index.ABSENT]
    columns = {name: shared.column(name) for name in index.OF_PHOTOS} | {"content": pa.array(every).cast(pa.string())}
    paths, stamp = shared.column("path"), index.stamps_of(shared, np.arange(shared.num_rows))
    index.write_table(table, shared.slice(0, 0), paths, stamp, columns)


def _column(table: pa.Table, name: str, rows: np.ndarray) -> np.ndarray:
    """The texts of some rows of a table, [n]: reasons as they are, digests as bytes; '' for a row that is absent."""
    taken = table.column(name).take(pa.array(rows, mask=rows == index.ABSENT))
    texts = pc.fill_null(taken, "").to_numpy()
    if name == "reason":
        return texts
    try:
        return texts.astype(f"S{_DIGITS}")
    except UnicodeEncodeError:  # another program wrote them; no photo has such a digest
        return np.zeros(len(texts), f"S{_DIGITS}")


def _digest(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:_DIGITS].encode()
    except OSError:
        return b""


def _reason(read: PhotoFiles, record: Record) -> str:
    try:
        read.at_least(record, SMALL)
    except InputError as error:
        return str(error)
    return ""


def _read_cache(cache: Path | None) -> pa.Table:
    """The results of an earlier run, without rows if their file is missing or damaged."""
    if cache is None or cache.is_file():
        return index.read_table(cache, _COLUMNS)
    return _read_json(cache.with_suffix(".json"))


def _read_json(file: Path) -> pa.Table:
    """The results in the form of earlier versions: path -> [[bytes, modified, changed], content, first, reason]."""
    try:
        rows = [[path, *stamp, *texts] for path, (stamp, *texts) in json.loads(file.read_bytes()).items()]
        schema = index.schema(_COLUMNS)
        return pa.table(
            [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), schema.types, strict=True)], schema
        )
    except StoreError:  # the results may be right
        raise
    except (OSError, ValueError, TypeError, AttributeError, pa.ArrowException):
        return index.read_table(None, _COLUMNS)


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
