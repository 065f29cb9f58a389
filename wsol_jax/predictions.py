"""What is said about photos, put together: the likeliest of all classes, boxes and classes of different sources."""

import numpy as np
from scipy.special import softmax

from wsol_jax.tables import Predictions

TOP = 5


def join(box: Predictions | None, classes: Predictions | None) -> Predictions:
    """The box of one source and the classes of another; None for a source that says nothing."""
    box, classes = box or Predictions(), classes or Predictions()
    return box._replace(top5_class=classes.top5_class, top5_prob=classes.top5_prob)


def top_classes(logits: np.ndarray) -> Predictions:
    """The five likeliest classes of logits [n, k] and their probabilities, likeliest first."""
    return likeliest(softmax(logits.astype(np.float64), axis=-1))


def likeliest(probability: np.ndarray) -> Predictions:
    """The five likeliest classes of probabilities [n, k], likeliest first; of equals the first."""
    best = np.argsort(-probability, axis=-1, kind="stable")[:, :TOP]
    likely = np.take_along_axis(probability, best, axis=-1)
    return Predictions(top5_class=best.astype(np.int32), top5_prob=likely.astype(np.float32))
