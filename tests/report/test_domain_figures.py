"""Figures of domain adaptation: drawn from any subset of the measurements, the same every time."""

import xml.etree.ElementTree as ElementTree

import pytest

from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report import domain_figures
from wsol_jax.report.domain_figures import domain_gap, loss_terms, missed_terms, purity, set_sizes
from wsol_jax.report.figures import COLORS, Drawing
from wsol_jax.report.map_figures import METHOD_COLORS

WATCHED = [{"epoch": e, "foreground": 30.0, "gap_foreground": 1 - e / 10, "gap_background": 1.5} for e in range(4)]
PURE = [line | {"purity_universum": 10.0, "purity_fake": 40.0, "purity_real": 70.0} for line in WATCHED]
LOG = [
    {
        "epoch": i / 10,
        "classification": 1.0,
        "domain": -0.1,
        "universum": 0.2,
        "kept": 0.5,
        "turns": 6.0,
        "share_universum": 0.5,
        "share_fake": 0.3,
        "share_real": 0.2,
        "missed_pairs": i // 5,
        "missed_universum": 0.0,
        "missed_spread": 0.0,
    }
    for i in range(1, 31)
]
WEIGHTS = {"classification": 1.0, "domain": 0.3, "universum": 2.0}


def text(figure: Drawing) -> str:
    return " ".join(ElementTree.fromstring(figure.svg).itertext())


@pytest.mark.parametrize("name", ["set_sizes", "kept_photos", "kmeans_iterations", "missed_terms"])
def test_a_log_is_drawn_the_same_every_time(name):
    draw = getattr(domain_figures, name)
    figure = draw(LOG)
    assert ">epoch<" in figure.svg and draw(LOG) == figure
    ElementTree.fromstring(figure.svg)


def test_the_colour_of_a_method_is_by_its_position():
    svg = domain_gap({"DA-WSOL": WATCHED, "ADL": [], "CAM": WATCHED}).svg
    assert "DA-WSOL" in svg and "CAM" in svg and "ADL" not in svg
    assert METHOD_COLORS[0] in svg and METHOD_COLORS[1] not in svg and METHOD_COLORS[2] in svg
    assert svg.count("stroke-dasharray") >= 2


def test_names_are_neither_markup_nor_mathematics():
    name = "<b>&$\\frac{$"
    assert name in "".join(ElementTree.fromstring(domain_gap({name: WATCHED}).svg).itertext())


def test_the_three_sets_have_the_colours_of_their_maps():
    for figure in (purity(PURE), set_sizes(LOG)):
        assert all(COLORS[name] in figure.svg for name in SETS) and "Fake target" in text(figure)
    assert "All pixels" in text(purity(PURE))


def test_terms_without_a_weight_or_a_value_are_left_out():
    assert "0.3 × Domain" in text(loss_terms(LOG, WEIGHTS, 1)) and "2 × Universum" in text(loss_terms(LOG, WEIGHTS, 1))
    assert "Universum" not in text(loss_terms(LOG, WEIGHTS | {"universum": 0.0}, 1))
    without = [{name: value for name, value in line.items() if name != "universum"} for line in LOG]
    assert "Universum" not in text(loss_terms(without, WEIGHTS, 1))
    assert "Classification" in text(loss_terms(without, WEIGHTS, 1))


def test_a_number_may_be_missing_here_and_there():
    holes = [LOG[0], {"epoch": 0.25, "loss": 1.0}, LOG[5]]
    for draw in (set_sizes, missed_terms, lambda log: loss_terms(log, WEIGHTS, 1)):
        assert text(draw(holes)) == text(draw([LOG[0], LOG[5]])) != ""
    assert text(purity([WATCHED[0], PURE[1]])).split() == text(purity(PURE[:2])).split()
