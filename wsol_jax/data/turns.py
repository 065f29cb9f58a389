"""Which annotations were drawn on the stored pixels of a photo that EXIF turns, and need to be turned with it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from absl import logging

from wsol_jax.data.frames import STORED, UPRIGHT, frame_of_boxes, frame_of_size, turned_size
from wsol_jax.data.headers import Header
from wsol_jax.data.records import Annotated
from wsol_jax.errors import InputError

FRAMES = ("auto", STORED, UPRIGHT)


class Turn(NamedTuple):
    """The EXIF orientations that the annotations of a photo need to be upright; 1 for those that are.

    Attributes:
        boxes: of the annotation's size and boxes.
        masks: of its masks.
    """

    boxes: int = 1
    masks: int = 1


def choose(
    items: Sequence[Annotated],
    headers: Sequence[Header | None],
    mask_sizes: Mapping[str, "tuple[int, int] | InputError"],
    frame: str,
    report: Callable[[str], None] = logging.warning,
) -> list[Turn]:
    """Return the turn of every photo, and report how many are turned and why.

    A photo's own annotation decides where it can: its size, its masks' sizes, boxes that only one frame has room for.
    Where it cannot (square photos, no size, orientations that keep the shape), the others of the dataset decide if they
    agree, else the annotation is taken for upright.

    Args:
        items: n photos.
        headers: of the photos, None where they are absent or unreadable.
        mask_sizes: path of a mask -> its size, or why it cannot be read.
        frame: 'auto', or 'stored' or 'upright' for all photos.
        report: receives the lines.
    """
    turned = [i for i, header in enumerate(headers) if header is not None and header.orientation != 1]
    seen = {i: _frames(items[i], headers[i], mask_sizes) for i in turned}
    decided = {of_boxes or of_masks for of_boxes, of_masks in seen.values()} - {""}
    rest = frame if frame != "auto" else decided.pop() if len(decided) == 1 else UPRIGHT
    chosen = [Turn()] * len(items)
    for i, (of_boxes, of_masks) in seen.items():
        pair = (frame, frame) if frame != "auto" else (of_boxes or of_masks or rest, of_masks or of_boxes or rest)
        chosen[i] = Turn(*(headers[i].orientation if each == STORED else 1 for each in pair))
    annotated = [i for i in turned if len(items[i].pixels) or items[i].masks]
    if annotated:
        report(_line(Counter(seen[i][0] or seen[i][1] for i in annotated), frame, rest))
    if lost := _lost(items, headers):
        report(
            f"{len(lost)} photos have the width for height of their annotation and no EXIF that turns them, the first "
            f"is {lost[0]}: their boxes are probably of another rotation"
        )
    return chosen


def _frames(
    item: Annotated, header: Header, mask_sizes: Mapping[str, "tuple[int, int] | InputError"]
) -> tuple[str, str]:
    """The frames that the boxes and the masks of a photo themselves show; '' where they do not."""
    if item.size:
        of_boxes = frame_of_size(item.size, header.stored, header.orientation)
    else:
        of_boxes = frame_of_boxes(item.pixels, header.stored, header.orientation)
    sizes = [size for path in item.masks if isinstance(size := mask_sizes.get(path), tuple)]
    return of_boxes, frame_of_size(sizes[0], header.stored, header.orientation) if sizes else ""


def _line(counts: Counter, frame: str, rest: str) -> str:
    if frame != "auto":
        how = f"all are taken as {frame}, as --config.data.annotation_frame has it"
    else:
        how = f"{counts[STORED]} were drawn on the stored pixels and are turned, {counts[UPRIGHT]} are upright"
        if counts[""]:
            how += (
                f", {counts['']} show neither and are taken as {rest}; --config.data.annotation_frame=stored or upright"
                " decides for all"
            )
    return f"annotations of {counts.total()} photos that EXIF turns: {how}"


def _lost(items: Sequence[Annotated], headers: Sequence[Header | None]) -> list[str]:
    """The photos without EXIF whose annotation has their width for height: one of the two was turned."""
    return [
        item.path
        for item, header in zip(items, headers, strict=True)
        if header is not None and header.orientation == 1 and item.size and item.size != header.stored
        if item.size == turned_size(header.stored, 6)
    ]
