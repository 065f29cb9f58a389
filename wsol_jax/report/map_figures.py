"""Curves of score maps, as SVG: how right they are at every threshold, and precision over recall."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from markupsafe import Markup

from wsol_jax.report.figures import COLORS, INK, NAMES, blank_axes, to_svg

Curve = Sequence[Sequence[float]]
"""x and y, each [k], as curves.json has them."""

IOUS = {30: "max_box_acc_v2_iou30", 50: "max_box_acc_v2_iou50", 70: "max_box_acc_v2_iou70"}
SHADES = {
    "ours": {30: "#8fd9b2", 50: COLORS["maps"], 70: "#0b6636"},
    "center_gaussian": {30: "#d3d7de", 50: "#a4abb7", 70: "#6f7887"},
}
METHODS = (COLORS["maps"], "#2f6fed", "#e07b00", "#8b3fd9", "#0a9fb0", "#c2255c")  # ours, then the others in turn


def map_figures(curves: Mapping[str, Mapping[str, Curve]]) -> dict[str, Markup]:
    """Everything that is drawn of the maps' curves.

    Args:
        curves: whose ('center_gaussian', or a method's name, ours first) -> metric -> its curve, in percent but for
            thresholds.

    Returns:
        Caption -> SVG element; a figure that nobody has a curve for is left out.
    """
    accuracy = _of_metrics(curves, IOUS.values())
    figures = {"Photos with a right box, by threshold": accuracy_curves(accuracy) if accuracy else None}
    if len(methods := {whose: found for whose, found in accuracy.items() if whose != "center_gaussian"}) > 1:
        figures["Methods, at an IoU of 0.5"] = lines(methods, IOUS[50], "threshold", "photos, %")
    if pixels := _of_metrics(curves, ("precision",)):
        figures["Pixels: precision over recall"] = lines(pixels, "precision", "recall, %", "precision, %")
    if pixels := _of_metrics(curves, ("piou",)):
        figures["Pixels: IoU with the masks, by threshold"] = lines(pixels, "piou", "threshold", "IoU, %")
    return {caption: Markup(svg) for caption, svg in figures.items() if svg}


def accuracy_curves(curves: Mapping[str, Mapping[str, Curve]]) -> str:
    """The share of photos with a box of IoU 0.3, 0.5 and 0.7, ours and the centre Gaussian's, as an SVG element.

    A dot marks the best threshold. Of the methods in `curves`, the first is ours.
    """
    figure, axes = blank_axes("threshold", "photos, %")
    ours = next((whose for whose in curves if whose != "center_gaussian"), "")
    for whose in [name for name in ("center_gaussian", ours) if name in curves]:
        shades = SHADES["ours" if whose == ours else whose]
        for percent, metric in IOUS.items():
            x, y = (np.asarray(axis) for axis in curves[whose][metric])
            text = f"{label(whose)}, IoU ≥ {percent / 100}"
            axes.plot(x, y, color=shades[percent], linewidth=1.8, label=text)
            axes.plot(x[y.argmax()], y.max(), "o", color=shades[percent], markersize=5)
    axes.set(xlim=(0, 1), ylim=(0, 105))
    axes.legend(
        frameon=False, labelcolor=INK, fontsize=9, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), reverse=True
    )
    return to_svg(figure, "map_accuracy")


def lines(curves: Mapping[str, Mapping[str, Curve]], metric: str, x_label: str, y_label: str) -> str:
    """One metric's curve of everyone who has it, as an SVG element."""
    figure, axes = blank_axes(x_label, y_label)
    colors = cycle(METHODS)
    for whose, found in curves.items():
        color = COLORS["center_gaussian"] if whose == "center_gaussian" else next(colors)
        axes.plot(*found[metric], color=color, linewidth=1.8, label=label(whose))
    axes.set(xlim=(0, 100 if x_label.endswith("%") else 1), ylim=(0, None if metric != "precision" else 102))
    axes.legend(frameon=False, labelcolor=INK)
    return to_svg(figure, f"maps_{metric}")


def label(whose: str) -> str:
    """What a legend calls a method, or whoever else a curve is of."""
    return NAMES.get(whose, whose.replace("$", r"\$"))  # a pair of dollars would be mathematics


def _of_metrics(curves: Mapping[str, Mapping[str, Curve]], metrics: Sequence[str]) -> dict[str, Mapping[str, Curve]]:
    return {whose: found for whose, found in curves.items() if all(metric in found for metric in metrics)}
