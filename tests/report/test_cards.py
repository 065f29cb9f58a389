"""Cards: shapes at their places, and tiles of the given maps only."""

import io
import re

import numpy as np
from PIL import Image

from wsol_jax.report.cards import Card, Photo, View, make_card, outline
from wsol_jax.report.figures import COLORS

IMAGE = np.full((300, 400, 3), 128, np.uint8)
TRUTH = np.array([[0.1, 0.2, 0.5, 0.8]])
BOX = np.array([0.25, 0.5, 0.75, 1])


def card(**more):
    return make_card(Photo("a.jpg", 0, IMAGE, TRUTH, **more))


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)), int)


def test_boxes_are_drawn_in_pixels_of_the_thumbnail():
    boxed = card(pseudo=np.array([0, 0, 0.5, 0.5]), predicted=BOX)
    assert boxed.size == (256, 192) and pixels(boxed.tiles[0].picture).shape == (288, 384, 3)
    expected = {"pseudo": [0, 0, 128, 96], "localizer": [64, 96, 128, 96], "truth": [25.6, 38.4, 102.4, 115.2]}
    assert dict(boxed.tiles[0].rectangles) == expected
    assert list(dict(boxed.tiles[0].rectangles)) == ["pseudo", "localizer", "truth"]  # the true one on top


def test_each_map_has_a_picture_of_its_own():
    left, right = np.zeros((2, 2)), np.zeros((2, 2))
    left[:, 0], right[:, 1] = 1, 1
    photo, a, b = card(views=[View("a", left, box=BOX, iou=0.5, kind="right"), View("b", right, fixed=BOX)]).tiles
    hot = [pixels(tile.picture)[96, [20, -20], 0] for tile in (photo, a, b)]
    assert abs(hot[0] - 128).max() < 3 and hot[1][0] > hot[1][1] and hot[2][0] < hot[2][1]
    assert (a.title, a.iou, a.kind, b.title, b.iou, b.kind) == ("a", 0.5, "right", "b", None, None)
    assert [name for name, _ in a.rectangles] == ["maps", "truth"]
    assert [name for name, _ in b.rectangles] == ["fixed", "truth"]


def test_the_sets_of_pixels_follow_their_map():
    sets = np.array([[0, 2], [1, 2]], np.int8)
    mask = np.ones((20, 20), np.uint8)
    _, a, sets_of_a, b = card(
        mask=mask, views=[View("a", np.eye(2), iou=0.5, assignment=sets), View("b", np.eye(2))]
    ).tiles
    assert (a.title, sets_of_a.title, b.title) == ("a", "a, target samples", "b")
    assert (a.areas, sets_of_a.areas, sets_of_a.iou, sets_of_a.kind) == ((), ("universum", "fake", "real"), None, None)
    assert [name for name, _ in sets_of_a.rectangles] == ["truth"]
    assert [name for name, _ in sets_of_a.outlines] == ["mask"]
    corners = pixels(sets_of_a.picture)[[10, 180, 10], [10, 10, 240]]
    expected = [(128 + to_rgb255(COLORS[name])) / 2 for name in ("universum", "fake", "real")]
    np.testing.assert_allclose(corners, expected, atol=6)


def to_rgb255(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])


def test_the_photo_has_an_iou_only_if_its_box_is_drawn_on_it():
    views = [View("a", np.eye(2), iou=0.5)]
    assert card(iou=0.5, views=views).tiles[0].iou is None
    assert card(iou=0.4, predicted=BOX, views=views).tiles[0].iou == 0.4
    assert card(iou=0.4).tiles[0].iou == 0.4
    assert card(iou=float("nan")).iou is None


def test_outlines_lie_around_regions_and_holes():
    region = np.zeros((100, 100), bool)
    region[20:60, 40:80] = True
    corners = np.array(re.findall(r"(\d+) (\d+)", outline(region, (200, 100))), int)
    np.testing.assert_allclose([corners.min(0), corners.max(0)], [[80, 20], [159, 59]], atol=1)
    region[30:50, 50:70] = False
    assert outline(region, (200, 100)).count("M") == 2
    assert outline(np.zeros((9, 9), bool), (50, 50)) == ""


def test_a_mask_is_outlined_and_compared_with_a_region():
    mask = np.zeros((50, 50), np.uint8)
    mask[10:40, 10:40], mask[:5] = 1, 255
    photo, view = card(mask=mask, views=[View("a", np.eye(50), region=mask == 1)]).tiles
    assert [name for name, _ in photo.outlines] == ["mask"]
    assert [name for name, _ in view.outlines] == ["mask", "region"]
    assert view.outlines[0][1] == view.outlines[1][1] == photo.outlines[0][1]
    assert card(mask=mask, views=[View("a", np.eye(50))]).tiles[1].outlines == []


def test_a_photo_without_a_class_and_with_a_confidence():
    plain = card(score=0.25, fallback=True, split="test")._replace(tiles=[])
    assert plain == Card("a.jpg", "test", 0, [], None, 0.25, True, None, (256, 192), [])
    assert make_card(Photo("a.jpg", -1, IMAGE[:20, :10], TRUTH[:0], score=float("nan"), top5=[(1, 0.5)]))._replace(
        tiles=[]
    ) == Card("a.jpg", "", -1, [(1, 50.0)], None, None, False, None, (10, 20), [])
