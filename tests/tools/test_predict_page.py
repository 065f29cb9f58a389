"""The page of the command `predict`: which photos it shows, by which threads it reads them, and what it holds."""

import threading

import numpy as np
import pages
import pytest
from PIL import Image

from wsol_jax.model.model import BOXES, MAPS
from wsol_jax.model.prediction import Prediction, unreadable
from wsol_jax.tools import predict

SCORES = (0.9, 0.1, 0.5, 0.3, 0.7)


class SomeModel:
    """Predictions of these scores, without a network; the second photo cannot be read."""

    title, classes = "CAM", ("a", "b")

    def __init__(self, task=MAPS, scores=SCORES):
        self.networks, self.scores, self.reading = {task: None}, scores, set()

    def stream(self, photos, batch_size):
        rng = np.random.default_rng(0)
        for i, score in enumerate(self.scores):
            activation, box = rng.normal(size=(3, 3)).astype(np.float32), np.array([[i, 2.0, 30, 40]])
            one = Prediction(size=(48, 64), boxes=box, scores=np.float32([score]), activation=activation)
            yield unreadable("broken") if i == 1 else one

    def pixels(self, photo):
        self.reading.add(threading.get_ident())
        return np.asarray(Image.open(photo))


@pytest.fixture
def names(tmp_path):
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(1).integers(0, 256, (len(SCORES), 64, 48, 3), np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    return [f"{i}.png" for i in range(len(SCORES))]


def page(model, names, tmp_path):
    predict.predict_photos(model, tmp_path / "photos", names, tmp_path / "out", 2)
    return (tmp_path / "out" / "index.html").read_text()


def test_as_many_photos_are_shown_as_in_a_report(names, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(predict, "DOUBTFUL", 2)
    caplog.set_level("INFO")
    html = page(SomeModel(), names, tmp_path)
    assert [photo["name"] for photo in pages.photos(html)] == ["3.png", "2.png"]
    line = f"2 of 4 photos of {tmp_path / 'photos'}, those with the lowest confidence"
    assert f"page: {line}" in caplog.text and line in html
    html = page(SomeModel(BOXES, [np.nan] * len(SCORES)), names, tmp_path)
    assert [photo["name"] for photo in pages.photos(html)] == ["0.png", "2.png"] and "the first ones" in html


def test_all_of_a_few_photos_are_shown(names, tmp_path, caplog):
    caplog.set_level("INFO")
    assert len(pages.photos(page(SomeModel(), names, tmp_path))) == 4
    assert "lowest confidence" not in caplog.text


def test_pictures_are_read_in_threads(names, tmp_path):
    model = SomeModel()
    page(model, names, tmp_path)
    assert model.reading and threading.get_ident() not in model.reading


@pytest.mark.parametrize("task", [BOXES, MAPS])
def test_maps_that_the_page_needs_are_in_one_array(task, tmp_path):
    model = SomeModel(task)
    done, maps = predict._predict(model, SCORES, 2, tmp_path)
    assert [one.activation for one in done] == [None] * len(SCORES)
    if task == BOXES:
        assert maps is None
        return
    for row, one in enumerate(model.stream(SCORES, 2)):
        np.testing.assert_array_equal(maps[row], 0 if one.error else one.activation)
