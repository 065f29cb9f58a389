"""Domain adaptation over epochs, as SVG: the gap between the domains, the three sets of pixels, the loss terms."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report.figures import COLORS, HEADROOM, INK, Drawing, blank_axes, drawing, legend_above, with_headroom
from wsol_jax.report.map_figures import METHOD_COLORS, label

Lines = Sequence[Mapping[str, float]]
"""Lines of log.jsonl or watch.jsonl, each with its epoch."""

SET_NAMES = {"universum": "Universum", "fake": "Fake target", "real": "Real target"}
MISSED = {
    "missed_pairs": "Batches without a photo in the domain loss",
    "missed_universum": "Batches without Universum pixels",
    "missed_spread": "Photos with identical samples",
}
TERMS = {"classification": "Classification", "domain": "Domain", "universum": "Universum"}
GREY, ORANGE, BLUE = "#8b93a1", "#e07b00", COLORS["universum"]
MAX_DOTS = 60  # a line of more points has no dots


def domain_gap(watched: Mapping[str, Lines]) -> Drawing:
    """Return the MMD from pooled features to the pixels of the object and to those of the background, by method.

    Args:
        watched: method -> lines with gap_foreground and gap_background; its position decides its colour.
    """
    figure, axes = blank_axes("epoch", "MMD")
    for (method, lines), color in zip(watched.items(), cycle(METHOD_COLORS), strict=False):
        if lines:
            _draw(axes, lines, "gap_foreground", color=color, label=label(method))
            _draw(axes, lines, "gap_background", color=color, linestyle="--")
    kinds = {"To object pixels": "-", "To background pixels": "--"}
    styles = [Line2D([], [], color=INK, linewidth=1.8, linestyle=style, label=kind) for kind, style in kinds.items()]
    with_headroom(axes)
    legend_above(axes, 2, [*axes.get_legend_handles_labels()[0], *styles])
    return drawing(figure, "domain_gap")


def purity(lines: Lines) -> Drawing:
    """Return the percentage of object pixels in each of the three sets and in all pixels.

    Args:
        lines: with foreground and purity_SET, percent; a line may lack a set.
    """
    figure, axes = blank_axes("epoch", "object, %")
    _draw(axes, lines, "foreground", color=INK, linestyle="--", linewidth=1.2, label="All pixels")
    for name in SETS:
        _draw(axes, lines, f"purity_{name}", color=COLORS[name], label=SET_NAMES[name])
    axes.set_ylim(0, 100 * HEADROOM)
    legend_above(axes, 2)
    return drawing(figure, "purity")


def loss_terms(log: Lines, weights: Mapping[str, float], start_epoch: float) -> Drawing:
    """Return the terms of the loss times their weights; a term of weight 0 is left out.

    Args:
        log: lines of log.jsonl.
        weights: of 'classification', 'domain' and 'universum'.
        start_epoch: from which on the latter two are added.
    """
    figure, axes = blank_axes("epoch", "weight × term")
    for (name, title), color in zip(TERMS.items(), (GREY, ORANGE, BLUE), strict=True):
        if weights[name] and any(name in line for line in log):
            factor = "" if weights[name] == 1 else f"{weights[name]:g} × "
            _draw(axes, log, name, weights[name], color=color, label=factor + title)
    axes.axvline(start_epoch, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    legend_above(axes, 3)
    return drawing(figure, "loss_terms")


def set_sizes(log: Lines) -> Drawing:
    """Return the share of pixels in each of the three sets, stacked."""
    figure, axes = blank_axes("epoch", "pixels, %")
    x, y = zip(*(_points(log, f"share_{name}", 100) for name in SETS), strict=True)
    axes.stackplot(x[0], *y, colors=[COLORS[name] for name in SETS], labels=[SET_NAMES[name] for name in SETS])
    axes.set_ylim(0, 100)
    axes.margins(x=0.01)
    legend_above(axes, 3)
    return drawing(figure, "set_sizes")


def kept_photos(log: Lines) -> Drawing:
    """Return the share of photos in the domain loss."""
    figure, axes = blank_axes("epoch", "photos, %")
    _draw(axes, log, "kept", 100, color=ORANGE)
    axes.set_ylim(0, 100 * HEADROOM)
    return drawing(figure, "kept")


def kmeans_iterations(log: Lines) -> Drawing:
    """Return the number of K-means iterations."""
    figure, axes = blank_axes("epoch", "iterations")
    _draw(axes, log, "turns", color=INK)
    with_headroom(axes)
    return drawing(figure, "turns")


def missed_terms(log: Lines) -> Drawing:
    """Return how often a term was 0 for lack of pixels, counted since the first step."""
    figure, axes = blank_axes("epoch", "count since the first step")
    for (name, title), color in zip(MISSED.items(), (ORANGE, BLUE, GREY), strict=True):
        _draw(axes, log, name, color=color, label=title, drawstyle="steps-post")
    with_headroom(axes)
    legend_above(axes, 1)
    return drawing(figure, "missed_terms")


def _points(lines: Lines, name: str, factor: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """The epochs of the lines that have a number, and that number times a factor."""
    points = [(line["epoch"], factor * line[name]) for line in lines if name in line]
    x, y = np.array(points, np.float64).reshape(-1, 2).T
    return x, y


def _draw(axes: Axes, lines: Lines, name: str, factor: float = 1, **style: object) -> None:
    x, y = _points(lines, name, factor)
    dots = {"marker": "o", "markersize": 3} if len(x) <= MAX_DOTS else {}
    axes.plot(x, y, **({"linewidth": 1.8} | dots | style))
    axes.margins(x=0.01)
