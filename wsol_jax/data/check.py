"""Every photo is decoded once before anything is learned, so that a broken one is known by name on the first day."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from wsol_jax.data.photos import PhotoFiles, inside
from wsol_jax.data.records import Dataset, Record
from wsol_jax.data.splits import require_every_class
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.progress import track
from wsol_jax.threads import in_threads

# path -> [bytes, time of the last change in nanoseconds, what is wrong with it or ""]
Remembered = dict[str, list]

_NAMED = 10


def check_photos(
    dataset: Dataset,
    split_names: Sequence[str],
    on_error: str,
    cache: Path | None,
    report: Callable[[str], None],
) -> tuple[Dataset, list[tuple[str, str]]]:
    """Decode every photo of some splits, and leave out the broken ones or stop.

    Photos that are not files (generated scenes, TFDS) are not checked. What was found is kept in `cache`: a photo whose
    file has the same length and time as then is not decoded again.

    Args:
        dataset: of `load_dataset`.
        split_names: which splits.
        on_error: 'skip' leaves broken photos out, 'stop' raises.
        cache: a JSON file of our own, written here; None remembers nothing.
        report: is given one line that counts and names the broken photos, if some are left out.

    Returns:
        The dataset without the broken photos, and (path, what is wrong) of each of them.

    Raises:
        InputError: `on_error` is neither; a photo is broken and `on_error` is 'stop'; a class loses its last training
            photo.
    """
    if on_error not in ("skip", "stop"):
        raise InputError(f"--config.data.on_error: expected 'skip' or 'stop', got {on_error!r}")
    if not isinstance(dataset.read, PhotoFiles):
        return dataset, []
    records = [record for name in split_names for record in dataset.splits[name]]
    broken = _broken(dataset.read, records, cache)
    if not broken:
        return dataset, []
    first = f"{len(broken)} of {len(records)} photos are broken"
    if on_error == "stop":
        raise InputError(f"{first}, the first is {broken[0][1]}; --config.data.on_error=skip leaves them out")
    more = ", ..." if len(broken) > _NAMED else ""
    report(f"{first} and left out: {', '.join(path for path, _ in broken[:_NAMED])}{more}; the first is {broken[0][1]}")
    dataset = _without(dataset, {path for path, _ in broken})
    require_every_class(dataset)
    return dataset, broken


def _broken(read: PhotoFiles, records: Sequence[Record], cache: Path | None) -> list[tuple[str, str]]:
    """(path, what is wrong) of each photo that cannot be decoded, in order."""
    remembered = _recall(cache)
    stamps = dict(zip((r.path for r in records), in_threads(lambda r: _stamp(read.root, r), records), strict=True))
    new = [record for record in records if remembered.get(record.path, [])[:2] != stamps[record.path]]
    reasons = track(in_threads(lambda record: _reason(read, record), new), len(new), "photo check") if new else ()
    for record, reason in zip(new, reasons, strict=True):
        remembered[record.path] = [*stamps[record.path], reason]
    if new and cache is not None:
        write_atomically(cache, lambda file: file.write(json.dumps(remembered).encode()))
    return [(record.path, remembered[record.path][2]) for record in records if remembered[record.path][2]]


def _stamp(root: Path, record: Record) -> list[int]:
    try:
        status = inside(root, record.path).stat()
    except OSError:
        return [-1, -1]
    return [status.st_size, status.st_mtime_ns]


def _reason(read: PhotoFiles, record: Record) -> str:
    try:
        read(record)
    except InputError as error:
        return str(error)
    return ""


def _recall(cache: Path | None) -> Remembered:
    """What an earlier run found; nothing, if its file is not there or damaged."""
    try:
        found = json.loads(cache.read_bytes()) if cache is not None else {}
        return {path: [size, time, reason] for path, (size, time, reason) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _without(dataset: Dataset, paths: set[str]) -> Dataset:
    splits = {name: [r for r in records if r.path not in paths] for name, records in dataset.splits.items()}
    return dataset._replace(splits=splits)
