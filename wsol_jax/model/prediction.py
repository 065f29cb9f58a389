"""The prediction for one photo, in its own pixels."""

import dataclasses

import numpy as np

from wsol_jax.evaluation.score_maps import score_map


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The boxes, the class and the heat map of a photo.

    Attributes:
        size: width and height of the upright photo, pixels; (0, 0) for one that cannot be read.
        boxes: float64 [m, 4], left, top, right, bottom in pixels of the upright photo; m = 0 without a network of boxes
            or maps, else 1.
        scores: float32 [m], the confidences of the boxes. Of a localizer of masks, or with `predict.mirror`, it is the
            probability that the IoU with the true box is at least 0.5, and NaN without; of a score map the mean of the
            stretched map in the box's region.
        label: the name of the most probable class; None without a classifier.
        label_score: its probability; None without a classifier.
        top5: the names of the five most probable classes with their probabilities, most probable first.
        activation: float32 [h', w'], the map of the shown class as the network gives it, or the probability that each
            cell is inside of the object, from a localizer of masks; None without either.
        error: why the photo cannot be read; '' for one that was read.
    """

    size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    label: str | None = None
    label_score: float | None = None
    top5: tuple[tuple[str, float], ...] = ()
    activation: np.ndarray | None = None
    error: str = ""

    @property
    def heat_map(self) -> np.ndarray | None:
        """The map in the photo's size, float32 [h, w], cubic and stretched to [0, 1] as in evaluation; or None."""
        return None if self.activation is None else score_map(self.activation, self.size).astype(np.float32)


def unreadable(error: str) -> Prediction:
    """Return the prediction for a photo that cannot be read: no box, no class, and the reason.

    Args:
        error: the reason, in one line.
    """
    return Prediction(size=(0, 0), boxes=np.zeros((0, 4)), scores=np.zeros(0, np.float32), error=error)
