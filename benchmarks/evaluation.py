"""The cost of MaxBoxAcc and MaxBoxAccV2 of a score map, against the same numbers from a loop of OpenCV over thresholds.

    python benchmarks/evaluation.py --maps=FOLDER_OF_NPY
    python benchmarks/evaluation.py                        without maps: random 14 x 14 ones, upsampled

Prints one table: CPU milliseconds per map of this evaluator, of the loop over all 255 levels and of the loop over the
published 1,000 thresholds, medians over maps of interleaved runs, and the median of the ratios of each map. CPU time of
one thread, so that other programs on the machine do not count. Stops if any IoU of any level differs by a digit.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from absl import app, flags

MAPS = flags.DEFINE_string("maps", None, "A folder with score maps, .npy, at any depth.")
COUNT = flags.DEFINE_integer("count", 50, "The number of maps.")


def main(_: list[str]) -> None:
    """Run the benchmark."""
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from wsol_jax.evaluation.contours import every_contour, largest_contour
    from wsol_jax.evaluation.map_boxes import published_iou
    from wsol_jax.evaluation.score_maps import quantise

    cv2.setNumThreads(1)
    for name, find, single in (("MaxBoxAccV2", every_contour, False), ("MaxBoxAcc", largest_contour, True)):

        def evaluate(score_map: np.ndarray, truth: np.ndarray, find: Callable = find) -> np.ndarray:
            image = quantise(score_map)
            return published_iou(find(image), truth, image)

        seconds = []
        for k, (score_map, truth) in enumerate(_maps()):
            result, own_time = _timed(evaluate, score_map, truth)
            by_level, level_time = _timed(
                loop, score_map, truth, single, range((score_map * 255).astype(np.uint8).max())
            )
            tau = [int(t * (score_map * 255).astype(np.uint8).max()) for t in np.arange(0, 1, 0.001)]
            by_tau, tau_time = _timed(loop, score_map, truth, single, tau)
            if not (np.array_equal(result, by_level) and np.array_equal(result[tau], by_tau)):
                raise SystemExit(f"{name}: map {k} has other numbers than the loop")
            if k:  # the first map compiles
                seconds.append((own_time, level_time, tau_time))
        print(f"{name}: {len(seconds)} maps, one thread, equal to the last digit")
        for column, label in enumerate(("wsol_jax, all levels", "loop, 255 levels", "loop, 1,000 thresholds")):
            each = statistics.median(1000 * row[column] for row in seconds)
            ratio = statistics.median(row[column] / row[0] for row in seconds)
            print(f"  {label:24} {each:8.2f} ms per map   {ratio:6.1f} x")


def loop(score_map: np.ndarray, truth: np.ndarray, single: bool, levels: range | list[int]) -> np.ndarray:
    """Return the best IoU at each level by one cv2.findContours after the other, as in wsolevaluation."""
    image = (score_map * 255).astype(np.uint8)
    h, w = image.shape
    best = np.zeros(len(levels))
    for k, level in enumerate(levels):
        _, mask = cv2.threshold(image, level, 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if single:
            contours = [max(contours, key=cv2.contourArea)]
        boxes = []
        for contour in contours:
            x, y, width, height = cv2.boundingRect(contour)
            boxes.append([x, y, min(x + width, w - 1), min(y + height, h - 1)])
        best[k] = _iou(np.array(boxes)[:, None], truth).max()
    return best


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1
    intersection = np.maximum(sides, 0).prod(axis=-1)
    areas = (a[..., 2:] - a[..., :2] + 1).prod(axis=-1) + (b[..., 2:] - b[..., :2] + 1).prod(axis=-1)
    return intersection / (areas - intersection)


def _timed(run: Callable, *args: object) -> tuple[np.ndarray, float]:
    start = time.thread_time()
    result = run(*args)
    return result, time.thread_time() - start


def _maps() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps float64 [h, w] in [0, 1] that are not constant, each with a box of its size, [1, 4]."""
    from wsol_jax.evaluation.score_maps import checked, score_map

    rng = np.random.default_rng(0)
    paths = sorted(Path(MAPS.value).rglob("*.npy"))[: COUNT.value + 1] if MAPS.value else [None] * (COUNT.value + 1)
    for path in paths:
        if path:
            values = checked(str(path), np.load(path, allow_pickle=False))
        else:
            values = score_map(cv2.GaussianBlur(rng.normal(size=(14, 14)), (0, 0), 1.2), (224, 224))
        h, w = values.shape
        if values.max() * 255 >= 1:
            yield values, np.array([[w // 5, h // 5, 4 * w // 5, 3 * h // 4]])


if __name__ == "__main__":
    app.run(main)
