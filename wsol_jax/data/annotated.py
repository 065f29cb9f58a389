"""From annotations as their files hold them to records: sizes, boxes and masks in the frame of the upright photo.

Every dataset of files ends here, so that absent photos, wrong annotations, photos that EXIF turns and samples of more
than 8 bits are treated alike in all of them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from wsol_jax.data import annotations, depth, frames, index, masks, photos, ranges, turns
from wsol_jax.data.headers import Header, read_headers
from wsol_jax.data.records import Annotated, Record
from wsol_jax.errors import InputError

_NAMED = 10

Sizes = Mapping[str, "tuple[int, int] | InputError"]
"""Path of a mask -> its width and height, or why it cannot be read."""


def to_records(
    root: Path,
    splits: Mapping[str, Sequence[Annotated]],
    config: ConfigDict,
    has_photos: bool = True,
    has_mask_files: bool = True,
) -> dict[str, list[Record]]:
    """Return the records of every split, in their order. Headers are read, no pixels of usual photos.

    Photos of more than 8 bits are decoded where the table of their ranges does not know them, see `ranges`.

    Args:
        root: of the dataset.
        splits: split -> its photos.
        config: `config.data`; with `on_error='skip'`, absent photos and those with a wrong annotation are left out and
            counted in the log; `annotation_frame` and `levels` replace what the files themselves decide.
        has_photos: whether the photos' files are there; without them sizes are those of the annotations or masks.
        has_mask_files: whether masks are files below `root`.

    Raises:
        InputError: a path leads out of `root`; `on_error` is 'stop' and a photo is absent or its annotation wrong; so
            are all photos of a split.
    """
    items = [item for of_split in splits.values() for item in of_split]
    headers: list[Header | None] = [None] * len(items)
    table = index.index_file(config.index, root)
    if has_photos:
        headers = read_headers(root, [i.path for i in items], "photo headers", table, config.unchanged)
    mask_paths = [path for i in items for path in (*i.masks, i.ignore) if path is not None] if has_mask_files else []
    sizes = masks.mask_sizes(root, list(dict.fromkeys(mask_paths)))
    if not has_photos:
        items = [_sized(item, sizes) for item in items]
    turn_of = turns.choose(items, headers, sizes, config.annotation_frame)
    levels = _levels(root, items, headers, table, config)
    made: list[Record | InputError] = []
    for item, header, turn in zip(items, headers, turn_of, strict=True):
        try:
            if has_photos and header is None:
                photos.existing(root, item.path)
            _require_right(item, sizes)
            made.append(_as_stored(_record(item, header, turn, sizes), header, levels))
        except InputError as error:
            made.append(error)
    return _kept(splits, made, config.on_error)


def _sized(item: Annotated, sizes: Sizes) -> Annotated:
    """An absent photo with the size of its first mask if its annotation has none; boxes need the photo's own."""
    if item.size or item.wrong:
        return item
    if len(item.pixels) or not item.masks:
        return item._replace(wrong=f"{item.path}: its lists give no size, and photos are absent; expected a size")
    size = sizes.get(item.masks[0])
    return item._replace(size=size) if isinstance(size, tuple) else item


def _require_right(item: Annotated, sizes: Sizes) -> None:
    if item.wrong:
        raise InputError(item.wrong)
    for path in (*item.masks, item.ignore):
        if isinstance(size := sizes.get(path), InputError):
            raise InputError(f"{size}, though the dataset lists it for {item.path}")


def _record(item: Annotated, header: Header | None, turn: turns.Turn, sizes: Sizes) -> Record:
    """The record of a usable photo; `turn` is what its boxes and its masks need to be upright."""
    size = item.size or (_size_of(header, turn.boxes) if header else photos.UNREADABLE_SIZE)
    upright = frames.turned_size(size, turn.boxes)
    boxes = annotations.normalised_boxes(item.pixels, size, item.path)
    for path in (*item.masks, item.ignore):
        if path in sizes and size != photos.UNREADABLE_SIZE:
            masks.require_shape(path, sizes[path], item.path, frames.turned_size(upright, turn.masks))
    turned = boxes if turn.boxes == 1 else frames.turned_boxes(boxes, turn.boxes)
    return Record(item.path, item.label, upright, turned, item.masks, item.ignore, turn.masks if item.masks else 1)


def _as_stored(record: Record, header: Header | None, levels: Mapping[str, depth.Levels]) -> Record:
    """A record with what is needed to read its photo, or to turn annotations of its stored pixels."""
    if header is None:
        return record
    record = record._replace(orientation=header.orientation)
    return record._replace(depth=header.depth, levels=levels[header.depth]) if header.depth else record


def _size_of(header: Header, turn: int) -> tuple[int, int]:
    return header.stored if turn == header.orientation else header.size


def _levels(
    root: Path, items: Sequence[Annotated], headers: Sequence[Header | None], table: Path | None, config: ConfigDict
) -> dict[str, depth.Levels]:
    def ranges_of(positions: Sequence[int]) -> np.ndarray:
        paths = [items[position].path for position in positions]
        return ranges.read_ranges(root, paths, ranges.ranges_file(table), config.unchanged)

    return depth.levels_of([header.depth if header else "" for header in headers], ranges_of, config.levels)


def _kept(
    splits: Mapping[str, Sequence[Annotated]], made: Sequence[Record | InputError], on_error: str
) -> dict[str, list[Record]]:
    """The records of every split without those that could not be made."""
    kept, start = {}, 0
    for split, items in splits.items():
        of_split = made[start : start + len(items)]
        start += len(items)
        kept[split] = [record for record in of_split if isinstance(record, Record)]
        if items and not kept[split]:
            raise InputError(f"{of_split[0]}" + (f"; nor can any other {split} photo be used" if items[1:] else ""))
    paths = [item.path for items in splits.values() for item in items]
    wrong = [(path, str(each)) for path, each in zip(paths, made, strict=True) if isinstance(each, InputError)]
    if wrong:
        if on_error == "stop":
            raise InputError(wrong[0][1])
        names = ", ".join(path for path, _ in wrong[:_NAMED]) + (", ..." if len(wrong) > _NAMED else "")
        logging.warning(
            "%d of %d photos are absent or wrongly annotated and left out: %s; the first: %s",
            *(len(wrong), len(made), names, wrong[0][1]),
        )
    return kept
