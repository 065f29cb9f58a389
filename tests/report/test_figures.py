"""Figures: well-formed, the same every time, and of the given numbers."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from wsol_jax.report.figures import (
    COLORS,
    INK,
    RULE,
    flat_overlay,
    heat_overlay,
    iou_histogram,
    loss_curve,
    recall_curve,
)

RESULTS = {"localizer": np.linspace(0, 1, 30), "pseudo": np.linspace(0.3, 0.9, 10), "center_box": np.full(5, np.nan)}


@pytest.mark.parametrize("draw", [iou_histogram, recall_curve])
def test_curves_show_the_sources_with_ious(draw):
    before = dict(matplotlib.rcParams)
    drawing = draw(RESULTS)
    svg = drawing.svg
    ElementTree.fromstring(svg)
    assert draw(RESULTS) == drawing and drawing.pdf.startswith(b"%PDF-") and draw.__name__ == drawing.name
    assert COLORS["localizer"] in svg
    assert COLORS["pseudo"] in svg
    assert COLORS["center_box"] not in svg
    assert "Pseudo boxes" in svg
    assert dict(matplotlib.rcParams) == before


def test_an_unknown_source_has_its_own_name_in_the_legend():
    assert "another" in recall_curve({"another": np.array([0.5])}).svg


def test_losses():
    svg = loss_curve("localizer", np.arange(0, 500, 10), np.linspace(3, 1, 50)).svg
    ElementTree.fromstring(svg)
    assert ">step<" in svg


def test_heat_is_blue_at_zero_and_red_at_its_maximum():
    photo = np.full((40, 60, 3), 128, np.uint8)
    overlay = heat_overlay(photo, np.array([[-5.0, 0.0, 1.0], [-5.0, 0.0, 1.0]]))
    assert overlay.shape == photo.shape
    assert overlay.dtype == np.uint8
    cold, hot = overlay[20, 0], overlay[20, -1]
    turbo = 255 * np.array(matplotlib.colormaps["turbo"]([0.0, 1.0]))[:, :3]
    np.testing.assert_allclose([cold, hot], (128 + turbo) / 2, atol=1)
    np.testing.assert_array_equal(overlay[20, 10], cold)  # below zero is as cold as zero


def test_flat_colours_have_sharp_borders_and_are_not_tinted_by_the_photo():
    photo = np.zeros((30, 40, 3), np.uint8)
    photo[:15] = 255, 0, 0
    overlay = flat_overlay(photo, np.array([[0, 1], [0, 1]], np.int8), ["#000000", "#0000ff"])
    assert overlay.shape == photo.shape and overlay.dtype == np.uint8
    np.testing.assert_allclose(overlay[0, [0, 19]], [[38, 38, 38]] * 2, atol=1)  # half of red's luma, 76
    np.testing.assert_allclose(overlay[29, [0, 19, 20, 39]], [[0, 0, 0]] * 2 + [[0, 0, 128]] * 2, atol=1)


def test_heat_without_a_positive_value():
    overlay = heat_overlay(np.zeros((8, 8, 3), np.uint8), np.full((2, 2), -1.0))
    assert (overlay == overlay[0, 0]).all()


def test_ink_and_rules_follow_the_page_which_is_light_or_dark():
    svg = recall_curve(RESULTS).svg
    assert "var(--soft)" in svg and "var(--rule)" in svg and INK not in svg and RULE not in svg


def test_no_line_touches_the_top():
    for figure in (loss_curve("a", np.arange(5), np.full(5, 7.0)), iou_histogram(RESULTS), recall_curve(RESULTS)):
        tree = ElementTree.fromstring(figure.svg)
        paths = [path.get("d") for path in tree.iter("{http://www.w3.org/2000/svg}path") if path.get("clip-path")]
        heights = [float(y) for d in paths for y in re.findall(r"[ML] [-\d.]+ ([-\d.]+)", d)]
        (clip,) = tree.iter("{http://www.w3.org/2000/svg}clipPath")
        top = float(clip[0].get("y"))
        curves = [y for y in heights if abs(y - top) > 1e-3]  # not the grid and the dashed line, which fill the plot
        assert min(curves) > top + 2
