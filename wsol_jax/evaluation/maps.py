"""Metrics of score maps over any number of photos: of boxes at every threshold, and of pixels where there are masks."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from wsol_jax.data.records import Dataset, Record
from wsol_jax.evaluation import bootstrap, map_boxes, map_pixels, score_maps
from wsol_jax.progress import track
from wsol_jax.threads import in_threads

MapSource = Callable[[int], np.ndarray]
"""Position of a record -> its score map, float64 [h, w] in [0, 1]."""

VALIDATED, BY_PSEUDO = "val_threshold", "pseudo_threshold"
Chosen = Mapping[str, Mapping[str, float]]
"""VALIDATED or BY_PSEUDO, the prefix of metrics -> NAME/threshold, chosen without the true boxes of their photos."""


def center_gaussian(size: int) -> np.ndarray:
    """Return the baseline map of every photo: a Gaussian in the middle, a quarter of the side wide.

    Thresholds give the same boxes and nearly the same masks for every width (wsolevaluation, table 2).

    Args:
        size: side of the map, pixels.

    Returns:
        float64 [size, size] in [0, 1].
    """
    off = (np.arange(size) + 0.5) / size - 0.5
    return score_maps.score_map(np.exp(-(off[:, None] ** 2 + off**2) / (2 * 0.25**2)), (size, size))


class MapResults(NamedTuple):
    """The states of both families of metrics.

    Attributes:
        boxes: of all photos.
        pixels: of each photo, zeros where it has no mask; None if none has one.
    """

    boxes: map_boxes.MapBoxes
    pixels: map_pixels.PixelScores | None


def measure(
    name: str,
    dataset: Dataset,
    records: Sequence[Record],
    source: MapSource | np.ndarray,
    top1: np.ndarray,
    step: float,
) -> MapResults:
    """Return the results of score maps against the true boxes and masks; none is kept.

    Args:
        name: of the progress bar.
        dataset: reads the masks.
        records: n photos.
        source: of their maps; or one map, that of every photo, whose contours are then computed once.
        top1: float64 [n], 1 where the most probable class is the true one, 0 where not, NaN where none was predicted.
        step: between the thresholds of a map.
    """
    of_photo, contours = source, None
    if isinstance(source, np.ndarray):
        of_photo, contours = lambda _: source, map_boxes.both_contours(score_maps.quantise(source))

    def one(i: int) -> tuple[map_boxes.MapBoxes, map_pixels.PixelScores | None]:
        score_map, record, pixels = of_photo(i), records[i], None
        if record.masks:
            mask = dataset.read_mask(record, len(score_map))
            pixels = map_pixels.compact(map_pixels.measure(record.path, score_map, mask, step))
        return map_boxes.measure(record, score_map, float(top1[i]), contours), pixels

    count = len(records)
    results = MapResults(map_boxes.zeros(count), None)
    for i, (boxes, pixels) in enumerate(track(in_threads(one, range(count)), count, name, unit="maps")):
        map_boxes.put(results.boxes, i, boxes)
        if pixels is not None:
            results = results._replace(pixels=map_pixels.put(results.pixels, count, i, pixels))
    return results


def numbers(results: MapResults, step: float) -> dict[str, float]:
    """Return the metrics, percent, each at the best threshold for these very photos, and NAME/threshold."""
    metrics = map_boxes.compute(results.boxes, step) if results.boxes.has_truth.any() else {}
    return metrics | (map_pixels.compute(map_pixels.pooled(results.pixels), step) if results.pixels else {})


def pseudo_thresholds(results: MapResults, step: float) -> dict[str, float]:
    """Return NAME/threshold that are best for pseudo boxes.

    That of `top1_loc_map` is that of `max_box_acc_v2_iou50`, whose boxes are the same: no label chooses it.

    Args:
        results: of maps against pseudo boxes, without masks and predicted classes.
        step: between the thresholds of a map.
    """
    chosen = {name: value for name, value in numbers(results, step).items() if name.endswith("/threshold")}
    same = {f"{part}top1_loc_map/threshold": chosen[f"{part}max_box_acc_v2_iou50/threshold"] for part in ("", "exact/")}
    return chosen | same


def numbers_at(results: MapResults, chosen: Chosen, step: float) -> dict[str, float]:
    """Return `val_threshold/...` and `pseudo_threshold/...`: the metrics at the thresholds that were chosen."""
    metrics = {}
    for prefix, at in chosen.items():
        of_prefix = map_boxes.compute_at(results.boxes, at, step) if results.boxes.has_truth.any() else {}
        if results.pixels and "piou/threshold" in at:
            of_prefix |= map_pixels.compute_at(map_pixels.pooled(results.pixels), at, step)
        metrics |= {f"{prefix}/{name}": value for name, value in of_prefix.items()}
    return metrics


def statistic(results: MapResults, step: float, chosen: Chosen = MappingProxyType({})) -> bootstrap.Statistic:
    """Return the statistic of all metrics for the bootstrap, each at the best threshold of each resample.

    Args:
        results: of n photos.
        step: between the thresholds of a map.
        chosen: thresholds that are fixed, for the metrics `val_threshold/...` and `pseudo_threshold/...`.
    """
    parts = {}
    for prefix, at in {"": None, **chosen}.items():
        of_prefix = []
        if results.boxes.has_truth.any() and (at is None or "max_box_acc/threshold" in at):
            of_prefix.append(map_boxes.statistic(results.boxes, step, at))
        if results.pixels and (at is None or "piou/threshold" in at):
            of_prefix.append(map_pixels.statistic(results.pixels, step, at))
        parts[f"{prefix}/" if prefix else ""] = of_prefix
    return lambda times: {
        f"{prefix}{name}": value
        for prefix, of_prefix in parts.items()
        for part in of_prefix
        for name, value in part(times).items()
    }


def curves(results: MapResults, step: float) -> dict[str, list[list[float]]]:
    """Return the metrics at every threshold and precision over recall, percent: name -> [x, y], rounded for a file."""
    at, named = score_maps.thresholds(step), {}
    if results.boxes.has_truth.any():
        named |= {name: (at, curve) for name, curve in map_boxes.curves(results.boxes, step).items()}
    if results.pixels:
        pixels = map_pixels.pooled(results.pixels)
        precision, recall = map_pixels.precision_recall(pixels)
        named["precision"] = (100 * recall, 100 * np.nan_to_num(precision, nan=1.0))
        named["piou"] = (at, map_pixels.iou_curve(pixels)[::-1][: len(at)])
    return {name: [np.round(axis, 4).tolist() for axis in axes] for name, axes in named.items()}
