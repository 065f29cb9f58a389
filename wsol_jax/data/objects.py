"""Photos with several objects of several classes, as detection datasets have them: one label for each photo."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from absl import logging

from wsol_jax.data.records import Annotated

LABELS = ("most", "only")


class Object(NamedTuple):
    """An object of a photo.

    Attributes:
        name: of its class.
        box: (x0, y0, x1, y1), pixels.
        mask: name of its mask, '' for none.
        is_crowd: whether it is a group of objects, which is neither object nor background.
    """

    name: str
    box: Sequence[float]
    mask: str = ""
    is_crowd: bool = False


def label_of(objects: Sequence[Object], how: str) -> str:
    """Return the class of a photo with some objects, '' if it has none.

    Args:
        objects: of the photo.
        how: 'most': the class of most objects, of those that equal the one with the largest area; 'only': the class of
            all objects.
    """
    counts, areas = Counter(), Counter()
    for one in objects:
        if not one.is_crowd:
            x0, y0, x1, y1 = one.box
            counts[one.name] += 1
            areas[one.name] += (x1 - x0) * (y1 - y0)
    if not counts or (how == "only" and len({one.name for one in objects}) > 1):
        return ""
    return max(sorted(counts), key=lambda name: (counts[name], areas[name]))


def annotated(path: str, label: int, name: str, size: tuple[int, int] | None, objects: Sequence[Object]) -> Annotated:
    """Return a photo with the boxes of its class, and their masks if each of these objects has one.

    Args:
        path: of the photo.
        label: of its class.
        name: of its class.
        size: that the annotation gives, None for none.
        objects: of the photo, of all classes.
    """
    own = [one for one in objects if one.name == name and not one.is_crowd]
    masks = tuple(one.mask for one in own) if all(one.mask for one in own) else ()
    crowds = [one.mask for one in objects if one.name == name and one.is_crowd and one.mask]
    return Annotated(path, label, size, [one.box for one in own], masks, crowds[0] if masks and crowds else None)


def report_left_out(where: object, counts: Counter) -> None:
    """Write into the log how many photos have no label, for each reason."""
    for reason, count in counts.items():
        logging.warning("%s: %d photos %s and are left out", where, count, reason)


def reason_without(objects: Sequence[Object]) -> str:
    """Return why a photo has no label, for `report_left_out`."""
    names = {one.name for one in objects}
    return "have objects of several classes" if len(names) > 1 else "have only crowds" if names else "have no object"
