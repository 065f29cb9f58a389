"""Domain adaption over epochs, as SVG: the gap between domains, three sets of pixels, the terms of the loss."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report.figures import COLORS, INK, blank_axes, to_svg
from wsol_jax.report.map_figures import METHODS, label

Lines = Sequence[Mapping[str, float]]
"""Lines of log.jsonl or watch.jsonl, each with its epoch."""

SET_NAMES = {"universum": "Universum", "fake": "Fake target", "real": "Real target"}
MISSED = {
    "missed_pairs": "Batches without a photo to adapt",
    "missed_universum": "Batches without Universum",
    "missed_spread": "Photos whose samples are all the same",
}
TERMS = {"classification": "Classification", "domain": "Domain", "universum": "Universum"}
GREY, ORANGE, BLUE = "#8b93a1", "#e07b00", COLORS["universum"]
FEW = 60  # points up to which each has a dot


def gap(watched: Mapping[str, Lines]) -> str:
    """The MMD from pooled features to pixels of the object and of the background, of everyone who was watched.

    Args:
        watched: method -> lines with gap_foreground and gap_background; the colours are by its place.

    Returns:
        An SVG element, as from all functions below.
    """
    figure, axes = blank_axes("epoch", "MMD")
    for (method, lines), color in zip(watched.items(), cycle(METHODS), strict=False):
        if lines:
            _draw(axes, lines, "gap_foreground", color=color, label=label(method))
            _draw(axes, lines, "gap_background", color=color, linestyle="--")
    kinds = {"To the object’s pixels": "-", "To those of the background": "--"}
    styles = [Line2D([], [], color=INK, linewidth=1.8, linestyle=style, label=kind) for kind, style in kinds.items()]
    axes.set_ylim(bottom=0)
    _legend(axes, 2, [*axes.get_legend_handles_labels()[0], *styles])
    return to_svg(figure, "domain_gap")


def purity(lines: Lines) -> str:
    """The percentage of true object in the three sets, and in all pixels."""
    figure, axes = blank_axes("epoch", "object, %")
    _draw(axes, lines, "foreground", color=INK, linestyle="--", linewidth=1.2, label="All pixels")
    for name in SETS:
        _draw(axes, lines, f"purity_{name}", color=COLORS[name], label=SET_NAMES[name])
    axes.set_ylim(0, 100)
    _legend(axes, 2)
    return to_svg(figure, "purity")


def terms(log: Lines, weights: Mapping[str, float], begins: float) -> str:
    """The terms of the loss times their weights; those without one are left out.

    Args:
        log: lines of a training.
        weights: of 'classification', 'domain' and 'universum'.
        begins: the epoch from which on the latter two are added.
    """
    figure, axes = blank_axes("epoch", "weight × term")
    for (name, words), color in zip(TERMS.items(), (GREY, ORANGE, BLUE), strict=True):
        if weights[name] and any(name in line for line in log):
            factor = "" if weights[name] == 1 else f"{weights[name]:g} × "
            _draw(axes, log, name, weights[name], color=color, label=factor + words)
    axes.axvline(begins, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    _legend(axes, 3)
    return to_svg(figure, "loss_terms")


def shares(log: Lines) -> str:
    """How many of the pixels are in each of the three sets, one above the other."""
    figure, axes = blank_axes("epoch", "pixels, %")
    x, y = zip(*(_points(log, f"share_{name}", 100) for name in SETS), strict=True)
    axes.stackplot(x[0], *y, colors=[COLORS[name] for name in SETS], labels=[SET_NAMES[name] for name in SETS])
    axes.set_ylim(0, 100)
    axes.margins(x=0.01)
    _legend(axes, 3)
    return to_svg(figure, "set_sizes")


def kept(log: Lines) -> str:
    """How many photos took part in the domain loss."""
    figure, axes = blank_axes("epoch", "photos, %")
    _draw(axes, log, "kept", 100, color=ORANGE)
    axes.set_ylim(0, 102)
    return to_svg(figure, "kept")


def turns(log: Lines) -> str:
    """How many turns K-means took."""
    figure, axes = blank_axes("epoch", "turns")
    _draw(axes, log, "turns", color=INK)
    axes.set_ylim(bottom=0)
    return to_svg(figure, "turns")


def missed(log: Lines) -> str:
    """How often a term was zero for lack of anything to compute it from, counted since the first step."""
    figure, axes = blank_axes("epoch", "so far")
    for (name, words), color in zip(MISSED.items(), (ORANGE, BLUE, GREY), strict=True):
        _draw(axes, log, name, color=color, label=words, drawstyle="steps-post")
    axes.set_ylim(bottom=0)
    _legend(axes, 1)
    return to_svg(figure, "missed_terms")


def _points(lines: Lines, name: str, factor: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """The epochs that a number is known of, and the number times a factor."""
    known = [(line["epoch"], factor * line[name]) for line in lines if name in line]
    x, y = np.array(known, np.float64).reshape(-1, 2).T
    return x, y


def _draw(axes: Axes, lines: Lines, name: str, factor: float = 1, **style: object) -> None:
    x, y = _points(lines, name, factor)
    dots = {"marker": "o", "markersize": 3} if len(x) <= FEW else {}
    axes.plot(x, y, **({"linewidth": 1.8} | dots | style))
    axes.margins(x=0.01)


def _legend(axes: Axes, columns: int, handles: Sequence[Line2D] | None = None) -> None:
    """Above the plot, where it hides no line."""
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": columns}
    axes.legend(handles=handles, frameon=False, labelcolor=INK, fontsize=9, **place)
