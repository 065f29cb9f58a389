"""Curves of maps: of the sources that have them, the same every time."""

import xml.etree.ElementTree as ElementTree

import numpy as np

from wsol_jax.report.figures import COLORS
from wsol_jax.report.map_figures import SHADES, map_figures

AT = np.linspace(0, 1, 50).tolist()
ACCURACY = {f"max_box_acc_v2_iou{percent}": [AT, np.linspace(90 - percent, 0, 50).tolist()] for percent in (30, 50, 70)}
PIXELS = {"precision": [[0, 100], [100, 20]], "piou": [AT, AT]}


def test_all_figures():
    curves = {"CAM": ACCURACY | PIXELS, "center_gaussian": ACCURACY | PIXELS}
    figures = map_figures(curves)
    assert list(figures) == [
        "Box accuracy by threshold",
        "Pixel precision over recall",
        "Pixel IoU by threshold",
    ]
    for svg in (figure.svg for figure in figures.values()):
        ElementTree.fromstring(svg)
        assert "CAM" in svg and "Centre Gaussian" in svg
    accuracy = figures["Box accuracy by threshold"].svg
    assert all(color in accuracy for shades in SHADES.values() for color in shades.values())
    assert map_figures(curves) == figures


def test_several_methods_are_compared():
    figures = map_figures({"CAM": ACCURACY, "ADL": ACCURACY | PIXELS, "center_gaussian": {}})
    methods = figures["Box accuracy of each method, IoU ≥ 0.5"].svg
    assert "CAM" in methods and "ADL" in methods and COLORS["center_gaussian"] not in methods
    assert "ADL" not in figures["Box accuracy by threshold"].svg
    assert "CAM" not in figures["Pixel precision over recall"].svg


def test_names_are_neither_markup_nor_mathematics():
    name = "<b>&$\\frac{$"
    for figure in map_figures({name: ACCURACY | PIXELS}).values():
        assert name in "".join(ElementTree.fromstring(figure.svg).itertext())


def test_no_curves_no_figures():
    assert map_figures({}) == map_figures({"CAM": {}, "center_gaussian": {}}) == {}
