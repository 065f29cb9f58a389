"""What the report says of domain adaption: why it works, where masks can tell, and what its training logged."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from ml_collections import ConfigDict

from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report import domain_figures
from wsol_jax.report.domain_figures import MISSED, SET_NAMES, Lines


class Drawing(NamedTuple):
    """A figure that is explained.

    Attributes:
        caption: above it.
        svg: an SVG element.
        note: below it: what is drawn and what to look for.
    """

    caption: str
    svg: Markup
    note: str


def drawings(watched: Mapping[str, Lines], log: Lines = (), config: ConfigDict | None = None) -> list[Drawing]:
    """Everything that is drawn of domain adaption, as far as there is something to draw.

    Args:
        watched: every method on the page, ours first -> what was seen of it by epoch; nothing if nobody looked.
        log: what our training logged.
        config: of that training; None if there was none.
    """
    ours, drawn = next(iter(watched.values()), ()), []
    if any(watched.values()):
        drawn.append(_gap(watched))
    if any("purity_real" in line for line in ours):
        drawn.append(_purity(ours))
    return drawn + (_of_log(log, config) if log and config else [])


def _gap(watched: Mapping[str, Lines]) -> Drawing:
    last = {method: lines[-1] for method, lines in watched.items() if lines}
    end = "; ".join(
        f"{name} {seen['gap_foreground']:.2f} and {seen['gap_background']:.2f}" for name, seen in last.items()
    )
    note = (
        "The MMD from the photos’ pooled features, which the classifier learns from, to pixels, which it is asked "
        "about. What it has learned holds for the object’s pixels if the solid line is low, and not for the "
        f"background if the dashed line stays above it. At the end, object and background: {end}."
    )
    return Drawing("How far pixels are from pooled features", Markup(domain_figures.gap(watched)), note)


def _purity(ours: Lines) -> Drawing:
    shares = {SET_NAMES[name]: ours[-1].get(f"purity_{name}") for name in SETS} | {"All": ours[-1]["foreground"]}
    end = ", ".join(f"{words} {share:.0f} %" for words, share in shares.items() if share is not None)
    note = (
        "How many of a set’s pixels are true object, by masks that training never sees. The sets mean something if "
        "Universum, the background, stays far below the dashed line and the real targets far above it. At the end: "
        f"{end}."
    )
    return Drawing("How pure the three sets are", Markup(domain_figures.purity(ours)), note)


def _of_log(log: Lines, config: ConfigDict) -> list[Drawing]:
    """What DA-WSOL's training logged, over epochs."""
    log = [line | {"epoch": line["step"] * config.epochs / log[-1]["step"]} for line in log]
    logged, drawn = set().union(*log), []
    if {"classification", "domain"} <= logged:
        drawn.append(_terms(log, config.dawsol))
    if {f"share_{name}" for name in SETS} <= logged:
        drawn.append(_sizes(log))
    if "kept" in logged:
        drawn.append(_kept(log, config.dawsol.samples))
    if "turns" in logged:
        drawn.append(_turns(log))
    if _is_any_missing(log):
        drawn.append(_missing(log))
    return drawn


def _terms(log: Lines, keys: ConfigDict) -> Drawing:
    weights = {"classification": 1.0, "domain": keys.domain_weight, "universum": keys.universum_weight}
    begins, wanted = keys.start_epoch + 1, "the others should fall without lifting that of the classification"
    if keys.domain_loss == "dann":
        wanted = f"the domain classifier should stay near {weights['domain'] * np.log(2):.2f}, where it can only guess"
    note = f"Each times its weight. All are minimised from the dashed line on, after epoch {begins}; then {wanted}."
    if not _is_any_missing(log):
        note += " None was ever 0 for lack of pixels."
    return Drawing("Terms of the loss", Markup(domain_figures.terms(log, weights, begins)), note)


def _sizes(log: Lines) -> Drawing:
    note = (
        "Shares of the pixels of training photos. They should settle; a set that all but vanishes leaves its term "
        "nothing to work on."
    )
    return Drawing("How large the three sets are", Markup(domain_figures.shares(log)), note)


def _kept(log: Lines, samples: int) -> Drawing:
    note = (
        f"A photo takes part if it has at least {samples} real and {samples - 1} fake targets. If most photos do not, "
        "dawsol.samples is too large for the map."
    )
    return Drawing("Photos in the domain loss", Markup(domain_figures.kept(log)), note)


def _turns(log: Lines) -> Drawing:
    note = "Mean over the photos of a batch. Few turns: the anchors are good places to start from."
    return Drawing("Turns of K-means", Markup(domain_figures.turns(log)), note)


def _missing(log: Lines) -> Drawing:
    counts = " ".join(f"{words}: {int(log[-1].get(name, 0)):,}." for name, words in MISSED.items())
    note = f"How often, up to then, a term was 0 for lack of pixels; it should be rare. At the end: {counts}"
    return Drawing("Terms that were missing", Markup(domain_figures.missed(log)), note)


def _is_any_missing(log: Lines) -> bool:
    return any(log[-1].get(name) for name in MISSED)
