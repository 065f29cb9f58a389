"""The page's figures of domain adaptation, each with its caption and an explanation."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report import domain_figures
from wsol_jax.report.domain_figures import MISSED, SET_NAMES, Lines
from wsol_jax.report.figures import Drawing


class CaptionedFigure(NamedTuple):
    """A figure with its caption and an explanation.

    Attributes:
        caption: above it.
        drawing: the figure.
        note: below it: its quantities, the values to expect, and the values of the last epoch.
    """

    caption: str
    drawing: Drawing
    note: str


def captioned_figures(
    watched: Mapping[str, Lines], log: Lines = (), config: ConfigDict | None = None
) -> list[CaptionedFigure]:
    """Return the figures of domain adaptation for which there are measurements.

    Args:
        watched: method (this run's first) -> lines of its watch.jsonl; () where it has none.
        log: lines of this run's log.jsonl.
        config: the keys of `train` of this run; None if it trained no network for maps.
    """
    own, figures = next(iter(watched.values()), ()), []
    if any(watched.values()):
        figures.append(_gap(watched))
    if any("purity_real" in line for line in own):
        figures.append(_purity(own))
    return figures + (_of_log(log, config) if log and config else [])


def _gap(watched: Mapping[str, Lines]) -> CaptionedFigure:
    last = {method: lines[-1] for method, lines in watched.items() if lines}
    end = "; ".join(
        f"{name} {line['gap_foreground']:.2f} and {line['gap_background']:.2f}" for name, line in last.items()
    )
    note = (
        "The MMD between the photos’ pooled features, on which the classifier is trained, and pixels, to which it is "
        "applied. The classifier transfers to object pixels if the solid line is low, and not to background pixels if "
        f"the dashed line stays above it. Last epoch, object and background: {end}."
    )
    return CaptionedFigure("Gap between pooled features and pixels", domain_figures.domain_gap(watched), note)


def _purity(own: Lines) -> CaptionedFigure:
    shares = {SET_NAMES[name]: own[-1].get(f"purity_{name}") for name in SETS} | {"All": own[-1]["foreground"]}
    end = ", ".join(f"{name} {share:.0f} %" for name, share in shares.items() if share is not None)
    note = (
        "The share of object pixels in each set, by true masks, which training does not use. The assignment is "
        "meaningful if Universum, the background, stays far below the dashed line and the real targets far above it. "
        f"Last epoch: {end}."
    )
    return CaptionedFigure("Purity of the three sets", domain_figures.purity(own), note)


def _of_log(log: Lines, config: ConfigDict) -> list[CaptionedFigure]:
    """The figures of the training log of DA-WSOL, over epochs."""
    log = [line | {"epoch": line["step"] * config.epochs / log[-1]["step"]} for line in log]
    logged, figures = set().union(*log), []
    if {"classification", "domain"} <= logged:
        figures.append(_terms(log, config.dawsol))
    if {f"share_{name}" for name in SETS} <= logged:
        figures.append(_sizes(log))
    if "kept" in logged:
        figures.append(_kept(log, config.dawsol.samples))
    if "turns" in logged:
        figures.append(_iterations(log))
    if _has_missed(log):
        figures.append(_missed(log))
    return figures


def _terms(log: Lines, config: ConfigDict) -> CaptionedFigure:
    weights = {"classification": 1.0, "domain": config.domain_weight, "universum": config.universum_weight}
    start, expected = config.start_epoch + 1, "the other terms should fall while the classification term does not rise"
    if config.domain_loss == "dann":
        guess = weights["domain"] * np.log(2)
        expected = f"the domain classifier should stay near {guess:.2f}, where it is no better than chance"
    note = f"Each term times its weight. From the dashed line on, after epoch {start}, all are minimised; {expected}."
    if not _has_missed(log):
        note += " No term was ever 0 for lack of pixels."
    return CaptionedFigure("Loss terms", domain_figures.loss_terms(log, weights, start), note)


def _sizes(log: Lines) -> CaptionedFigure:
    note = (
        "The share of the pixels of training photos in each set. The shares should settle; a set that nearly vanishes "
        "leaves its term without pixels."
    )
    return CaptionedFigure("Sizes of the three sets", domain_figures.set_sizes(log), note)


def _kept(log: Lines, samples: int) -> CaptionedFigure:
    note = (
        f"A photo takes part if it has at least {samples} real and {samples - 1} fake targets. If most photos do not, "
        "dawsol.samples is too large for the size of the map."
    )
    return CaptionedFigure("Photos in the domain loss", domain_figures.kept_photos(log), note)


def _iterations(log: Lines) -> CaptionedFigure:
    note = "Mean over the photos of a batch. Few iterations: the anchors are good initial centres."
    return CaptionedFigure("K-means iterations", domain_figures.kmeans_iterations(log), note)


def _missed(log: Lines) -> CaptionedFigure:
    counts = " ".join(f"{title}: {int(log[-1].get(name, 0)):,}." for name, title in MISSED.items())
    note = f"How often a term was 0 for lack of pixels, counted since the first step; it should be rare: {counts}"
    return CaptionedFigure("Missing loss terms", domain_figures.missed_terms(log), note)


def _has_missed(log: Lines) -> bool:
    return any(log[-1].get(name) for name in MISSED)
