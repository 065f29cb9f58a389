"""The confidence of a box: a calibrated probability that its IoU with the true box is at least 0.5, without any truth.

Logistic models of a few signals, fitted once on the 750 training photos of the first 25 classes of CUB-200-2011 against
their true boxes (docs/results.md has how, and how well calibrated they are on other photos).
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit

from wsol_jax import boxes
from wsol_jax.methods.method import Prediction
from wsol_jax.pseudo.regions import Region, RegionBox, heat_box, heat_regions

LEVELS = (-0.1, 0.0, 0.1, 0.2, 0.3)  # standard deviations of a heat map, for its stability
LARGEST_AREA = 0.5  # of a photo; above it the area is no signal
HEAT = {"bias": -3.426, "stability": 4.720, "heat_inside": 4.170, "log_area": 2.033}
MEAN = {"bias": -1.061, "pseudo_logit": 1.111, "iou": 1.610}
SURE = 1 - 1e-6  # the highest probability whose logarithm of odds is used
MASK = {"bias": -5.751, "stability": 6.815, "inside": 5.11, "log_area": 1.409}
MIRROR = {"bias": 0.758, "mirror_iou": 4.296, "log_area": 1.861}


def heat_confidence(heat: np.ndarray, cut: RegionBox) -> float:
    """Return the confidence of a box that was cut from a heat map.

    The signals are its stability, the mean IoU with the boxes at five threshold `LEVELS`; the share of the positive
    heat that lies inside of it; and its area.

    Args:
        heat: float [h, w], positive on the object.
        cut: the box.

    Returns:
        A probability; 0 for a whole image that was taken because no cell was above the threshold.
    """
    if cut.fallback:
        return 0.0
    at_levels = [heat_box(heat, "nearest_code", 0, (level,)) for level in LEVELS]
    ious = np.array([boxes.iou(one.box, cut.box) for one in at_levels])
    return float(heat_probability(heat_inside(heat, cut.box), cut.box, ious))


def region_confidences(heat: np.ndarray, regions: Sequence[Region]) -> list[float]:
    """Return the confidence of every region of a heat map, as `heat_confidence` of the largest one.

    A region is as stable as the most similar one at each level; of two regions each holds a part of the heat, so that
    both are less confident than the only region of a map.

    Args:
        heat: float [h, w], positive on objects.
        regions: of the map.
    """
    at_levels = [[one.box for one in heat_regions(heat, "nearest_code", 0, (level,))] for level in LEVELS]
    ious = [[boxes.iou(np.array(found), cut.box).max() if found else 0.0 for found in at_levels] for cut in regions]
    return [
        float(heat_probability(heat_inside(heat, cut.box), cut.box, np.array(of_cut)))
        for cut, of_cut in zip(regions, ious, strict=True)
    ]


def box_confidence(predicted: Prediction) -> np.ndarray | None:
    """Return the confidence of a localizer's boxes, float32 [n], or None where there is no signal.

    Args:
        predicted: n boxes, of masks or averaged with those of mirror images.
    """
    if predicted.stability is not None:
        return mask_confidence(predicted.box, predicted.stability, predicted.map)
    return None if predicted.mirror_iou is None else mirror_confidence(predicted.box, predicted.mirror_iou)


def mask_confidence(box: np.ndarray, stability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the confidence of boxes that were cut from masks, float32 [n].

    Args:
        box: [n, 4], normalised xyxy.
        stability: [n], see `mask_boxes`.
        mask: [n, h, w], the probability of each cell.
    """
    inside = np.array([heat_inside(of_photo, of_box) for of_photo, of_box in zip(mask, box, strict=True)])
    signals = {"stability": stability, "inside": inside, "log_area": log_area(box)}
    return expit(MASK["bias"] + sum(MASK[name] * value for name, value in signals.items())).astype(np.float32)


def mirror_confidence(box: np.ndarray, mirror_iou: np.ndarray) -> np.ndarray:
    """Return the confidence of a localizer's boxes, float32 [n].

    Args:
        box: [n, 4], normalised xyxy, the means over photos and mirror images.
        mirror_iou: [n], the IoU of the two boxes that each is the mean of.
    """
    signals = MIRROR["mirror_iou"] * mirror_iou + MIRROR["log_area"] * log_area(box)
    return expit(MIRROR["bias"] + signals).astype(np.float32)


def mean_confidence(pseudo: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Return the confidence of boxes that are the means of a pseudo box and a localizer's box, float32 [n].

    A localizer is too sure of its own training photos, whose pseudo boxes it has learned; its own confidence is
    therefore not a signal.

    Args:
        pseudo: [n], the confidence of the pseudo boxes.
        iou: [n], the IoU of the two boxes that each is the mean of.
    """
    odds = logit(np.clip(np.asarray(pseudo, np.float64), 1 - SURE, SURE))
    return expit(MEAN["bias"] + MEAN["pseudo_logit"] * odds + MEAN["iou"] * iou).astype(np.float32)


def heat_probability(inside: np.ndarray, box: np.ndarray, at_levels: np.ndarray) -> np.ndarray:
    """Return the confidence of boxes that were cut from heat maps, float64 [...].

    Args:
        inside: [...], see `heat_inside`.
        box: [..., 4], normalised xyxy.
        at_levels: [..., 5], the IoU with the box at each of `LEVELS`.
    """
    signals = {"stability": at_levels.mean(axis=-1), "heat_inside": inside, "log_area": log_area(box)}
    return expit(HEAT["bias"] + sum(HEAT[name] * value for name, value in signals.items()))


def heat_inside(heat: np.ndarray, box: np.ndarray) -> float:
    """Return the share of a map's positive heat [h, w] at cell centres inside of a box [4]; 0 if there is none."""
    h, w = heat.shape
    x, y = (np.arange(w) + 0.5) / w, (np.arange(h) + 0.5) / h
    inside = ((y >= box[1]) & (y <= box[3]))[:, None] & ((x >= box[0]) & (x <= box[2]))[None]
    positive = np.maximum(heat, 0)
    total = float(positive.sum(dtype=np.float64))
    return float(positive[inside].sum(dtype=np.float64)) / total if total > 0 else 0.0


def log_area(box: np.ndarray) -> np.ndarray:
    """Return the logarithm of the areas [...] of boxes [..., 4], held in [1e-6, 0.5]."""
    return np.log(np.clip(boxes.area(np.asarray(box, np.float64)), 1e-6, LARGEST_AREA))
