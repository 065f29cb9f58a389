"""The one record of predicted boxes and classes, and the join of their sources."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from wsol_jax.data.records import Record

TOP = 5
AT_ONCE = 4096  # photos whose probabilities are held in memory


class Predictions(NamedTuple):
    """Boxes and classes of n photos, in the order of their records; None for a field without a source.

    Attributes:
        box: float64 [n, 4], normalised xyxy in the frame of the original image; it may reach over the image's edge.
        score: float32 [n], the confidence of the box, in the unit of its source.
        fallback: bool [n], true where no object was detected and the box is the whole image.
        top5_class: int32 [n, k], k <= 5, the most probable classes, most probable first.
        top5_prob: float32 [n, k], their probabilities.
    """

    box: np.ndarray | None = None
    score: np.ndarray | None = None
    fallback: np.ndarray | None = None
    top5_class: np.ndarray | None = None
    top5_prob: np.ndarray | None = None


def join(box: Predictions | None, classes: Predictions | None) -> Predictions:
    """Return the box of one source with the classes of another (PSOL, Algorithm 1); None for a missing source."""
    box, classes = box or Predictions(), classes or Predictions()
    return box._replace(top5_class=classes.top5_class, top5_prob=classes.top5_prob)


def top_classes(logits: np.ndarray) -> Predictions:
    """Return the five most probable classes of logits [n, k] and their probabilities, most probable first."""
    parts = (logits[start : start + AT_ONCE] for start in range(0, max(len(logits), 1), AT_ONCE))
    return concatenate([most_probable(softmax(part.astype(np.float64), axis=-1)) for part in parts])


def most_probable(probability: np.ndarray) -> Predictions:
    """Return the five most probable classes of probabilities [n, k], most probable first; of equals the first class."""
    best = np.argsort(-probability, axis=-1, kind="stable")[:, :TOP]
    likely = np.take_along_axis(probability, best, axis=-1)
    return Predictions(top5_class=best.astype(np.int32), top5_prob=likely.astype(np.float32))


def box_classes(records: Sequence[Record], predictions: Predictions, classes: Sequence[str]) -> np.ndarray:
    """Return the class that each box is of, int32 [n].

    It is the photo's own class, whose map a score-map method thresholds; of an unlabelled photo it is the most
    probable class, or, where no class was predicted, the only one there is, and -1 if there are several.

    Args:
        records: n records.
        predictions: in the same order.
        classes: the classes' names.
    """
    own, only = np.array([record.label for record in records], np.int32), 0 if len(classes) == 1 else -1
    predicted = np.full(len(records), only) if predictions.top5_class is None else predictions.top5_class[:, 0]
    return np.where(own < 0, predicted, own).astype(np.int32)


def image_sizes(records: Sequence[Record]) -> np.ndarray:
    """Return the width and height of every record's photo, float64 [n, 2], pixels."""
    return np.array([record.size for record in records], np.float64).reshape(-1, 2)


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several sets of photos as one; a field that a part lacks is None."""

    def joined(field: str) -> np.ndarray | None:
        arrays = [getattr(part, field) for part in parts]
        return None if any(array is None for array in arrays) else np.concatenate(arrays)

    return Predictions(*(joined(field) for field in Predictions._fields))
