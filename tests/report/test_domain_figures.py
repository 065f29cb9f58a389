"""Figures of domain adaption: drawn as far as something is known, the same every time."""

import xml.etree.ElementTree as ElementTree

import pytest

from wsol_jax.methods.dawsol.target_samples import SETS
from wsol_jax.report import domain_figures
from wsol_jax.report.domain_figures import gap, missed, purity, shares, terms
from wsol_jax.report.figures import COLORS
from wsol_jax.report.map_figures import METHODS

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


def text(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("name", ["shares", "kept", "turns", "missed"])
def test_what_is_logged_is_drawn_the_same_every_time(name):
    draw = getattr(domain_figures, name)
    svg = draw(LOG)
    assert ">epoch<" in svg and draw(LOG) == svg
    ElementTree.fromstring(svg)


def test_everyone_who_was_watched_has_a_colour_by_place():
    svg = gap({"DA-WSOL": WATCHED, "ADL": [], "CAM": WATCHED})
    assert "DA-WSOL" in svg and "CAM" in svg and "ADL" not in svg
    assert METHODS[0] in svg and METHODS[1] not in svg and METHODS[2] in svg
    assert svg.count("stroke-dasharray") >= 2


def test_names_are_neither_markup_nor_mathematics():
    name = "<b>&$\\frac{$"
    assert name in "".join(ElementTree.fromstring(gap({name: WATCHED})).itertext())


def test_the_three_sets_have_the_colours_of_their_maps():
    for svg in (purity(PURE), shares(LOG)):
        assert all(COLORS[name] in svg for name in SETS) and "Fake target" in text(svg)
    assert "All pixels" in purity(PURE)


def test_terms_without_a_weight_or_a_value_are_left_out():
    assert "0.3 × Domain" in text(terms(LOG, WEIGHTS, 1)) and "2 × Universum" in text(terms(LOG, WEIGHTS, 1))
    assert "Universum" not in terms(LOG, WEIGHTS | {"universum": 0.0}, 1)
    without = [{name: value for name, value in line.items() if name != "universum"} for line in LOG]
    assert "Universum" not in terms(without, WEIGHTS, 1) and "Classification" in terms(without, WEIGHTS, 1)


def test_a_number_may_be_missing_here_and_there():
    holes = [LOG[0], {"epoch": 0.25, "loss": 1.0}, LOG[5]]
    for draw in (shares, missed, lambda log: terms(log, WEIGHTS, 1)):
        assert text(draw(holes)) == text(draw([LOG[0], LOG[5]])) != ""
    assert text(purity([WATCHED[0], PURE[1]])).split() == text(purity(PURE[:2])).split()
