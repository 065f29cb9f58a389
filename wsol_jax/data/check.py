"""The check of a run's photos: each is decoded once before anything is trained, and unreadable ones are named."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from wsol_jax.data.photos import UNREADABLE_SIZE, PhotoFiles, inside
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.splits import require_every_class
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.progress import track
from wsol_jax.threads import in_parts, in_threads

Checked = dict[str, list]
"""Path of a photo -> [bytes, time of the last change in nanoseconds, why it is unreadable or '']"""

_NAMED = 10
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

    Photos that are not files (generated scenes, TFDS) are not checked. The results are kept in `cache`: a photo whose
    file has the same length and time as before, and a readable header, is not decoded again.

    Args:
        dataset: as `load_dataset` returns it.
        split_names: the splits to check.
        on_error: 'skip' leaves unreadable photos out, 'stop' raises.
        cache: the JSON file of the results, read and written; None for no cache.
        decode: False for the results in `cache` alone: new photos are not decoded, and nothing is written.
        report: receives one line that counts and names the unreadable photos, if some are left out.

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
    unreadable = _unreadable(dataset.read, records, cache, decode)
    if not unreadable:
        return dataset, []
    count = f"{len(unreadable)} of {len(records)} photos are unreadable"
    if on_error == "stop":
        raise InputError(f"{count}, the first is {unreadable[0][1]}; --config.data.on_error=skip leaves them out")
    names = ", ".join(path for path, _ in unreadable[:_NAMED]) + (", ..." if len(unreadable) > _NAMED else "")
    report(f"{count} and left out: {names}; the first is {unreadable[0][1]}")
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
    return {path: reason for path, (_, _, reason) in checked if reason and (root / path).is_file()}


def _unreadable(read: PhotoFiles, records: Sequence[Record], cache: Path | None, decode: bool) -> list[tuple[str, str]]:
    """(path, error) of each photo that cannot be decoded, in order."""
    checked = _read_cache(cache)
    stamps = dict(zip((r.path for r in records), in_parts(lambda r: _stamp(read.root, r), records), strict=True))
    new = [r for r in records if r.size == UNREADABLE_SIZE or checked.get(r.path, [])[:2] != stamps[r.path]]
    if not decode:
        checked |= {record.path: [*stamps[record.path], ""] for record in new}
        new = [record for record in new if record.size == UNREADABLE_SIZE]
    reasons = track(in_threads(lambda record: _reason(read, record), new), len(new), "photo check") if new else ()
    for record, reason in zip(new, reasons, strict=True):
        checked[record.path] = [*stamps[record.path], reason]
    if decode and new and cache is not None:
        write_atomically(cache, lambda file: file.write(json.dumps(checked).encode()))
    return [(record.path, checked[record.path][2]) for record in records if checked[record.path][2]]


def _stamp(root: Path, record: Record) -> list[int]:
    try:
        status = inside(root, record.path).stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]


def _reason(read: PhotoFiles, record: Record) -> str:
    try:
        read.at_least(record, SMALL)
    except InputError as error:
        return str(error)
    return ""


def _read_cache(cache: Path | None) -> Checked:
    """The results of an earlier run; {} if their file is missing or damaged."""
    try:
        checked = json.loads(cache.read_bytes()) if cache is not None else {}
        return {path: [size, time, reason] for path, (size, time, reason) in checked.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _without(dataset: Dataset, paths: set[str]) -> Dataset:
    splits = {name: [r for r in records if r.path not in paths] for name, records in dataset.splits.items()}
    return dataset._replace(splits=splits)
