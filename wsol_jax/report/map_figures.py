"""Curves of score maps, as SVG: accuracy and IoU at every threshold, and precision over recall."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

from wsol_jax.report.figures import COLORS, HEADROOM, NAMES, Drawing, blank_axes, drawing, legend_above, with_headroom

Curve = Sequence[Sequence[float]]
"""x and y, each [k], as curves.json has them."""

IOUS = {30: "max_box_acc_v2_iou30", 50: "max_box_acc_v2_iou50", 70: "max_box_acc_v2_iou70"}
SHADES = {
    "ours": {30: "#8fd9b2", 50: COLORS["maps"], 70: "#0b6636"},
    "center_gaussian": {30: "#d3d7de", 50: "#a4abb7", 70: "#6f7887"},
}
METHOD_COLORS = (COLORS["maps"], "#e07b00", "#8b3fd9", "#0a9fb0", "#d6409f", "#8a6d3b")  # this run, then the others


def map_figures(curves: Mapping[str, Mapping[str, Curve]]) -> dict[str, Drawing]:
    """Return every figure of the maps' curves, by caption.

    Args:
        curves: source ('center_gaussian', or a method's name, this run's first) -> metric -> its curve, in percent
            except for thresholds.

    Returns:
        Caption -> figure; one without curves is left out.
    """
    accuracy = _of_metrics(curves, IOUS.values())
    figures = {"Box accuracy by threshold": accuracy_curves(accuracy) if accuracy else None}
    if len(methods := {name: of_method for name, of_method in accuracy.items() if name != "center_gaussian"}) > 1:
        figures["Box accuracy of each method, IoU ≥ 0.5"] = metric_curves(methods, IOUS[50], "threshold", "photos, %")
    if pixels := _of_metrics(curves, ("precision",)):
        figures["Pixel precision over recall"] = metric_curves(pixels, "precision", "recall, %", "precision, %")
    if pixels := _of_metrics(curves, ("piou",)):
        figures["Pixel IoU by threshold"] = metric_curves(pixels, "piou", "threshold", "IoU, %")
    return {caption: figure for caption, figure in figures.items() if figure}


def accuracy_curves(curves: Mapping[str, Mapping[str, Curve]]) -> Drawing:
    """Return the share of photos with a box of IoU 0.3, 0.5 and 0.7, of the first method and the centre Gaussian.

    A dot marks the best threshold.

    Args:
        curves: source -> metric -> its curve, see `map_figures`.
    """
    figure, axes = blank_axes("threshold", "photos, %")
    ours = next((source for source in curves if source != "center_gaussian"), "")
    for source in [name for name in ("center_gaussian", ours) if name in curves]:
        shades = SHADES["ours" if source == ours else source]
        for percent, metric in IOUS.items():
            x, y = (np.asarray(axis) for axis in curves[source][metric])
            text = f"{label(source)}, IoU ≥ {percent / 100}"
            axes.plot(x, y, color=shades[percent], linewidth=1.8, label=text)
            axes.plot(x[y.argmax()], y.max(), "o", color=shades[percent], markersize=5)
    axes.set(xlim=(0, 1), ylim=(0, 100 * HEADROOM))
    legend_above(axes, 2, reverse=True)
    return drawing(figure, "map_accuracy")


def metric_curves(curves: Mapping[str, Mapping[str, Curve]], metric: str, x_label: str, y_label: str) -> Drawing:
    """Return one metric's curve of every source.

    Args:
        curves: source -> metric -> its curve, see `map_figures`; each has the metric.
        metric: the one to draw.
        x_label: below the x axis; in percent if it ends in '%'.
        y_label: left of the y axis.
    """
    figure, axes = blank_axes(x_label, y_label)
    colors = cycle(METHOD_COLORS)
    for source, of_source in curves.items():
        color = COLORS["center_gaussian"] if source == "center_gaussian" else next(colors)
        axes.plot(*of_source[metric], color=color, linewidth=1.8, label=label(source))
    axes.set_xlim(0, 100 if x_label.endswith("%") else 1)
    with_headroom(axes)
    legend_above(axes, 3)
    return drawing(figure, f"maps_{metric}")


def label(source: str) -> str:
    r"""Return the name of a source of curves in a legend.

    Example:
        >>> label("center_gaussian"), label("a $ b")
        ('Centre Gaussian', 'a \\$ b')
    """
    return NAMES.get(source, source.replace("$", r"\$"))  # matplotlib would set a pair of dollars as mathematics


def _of_metrics(curves: Mapping[str, Mapping[str, Curve]], metrics: Sequence[str]) -> dict[str, Mapping[str, Curve]]:
    """The sources that have all of these metrics."""
    return {source: named for source, named in curves.items() if all(metric in named for metric in metrics)}
