import itertools

import pytest
from absl import logging

from wsol_jax import progress


@pytest.fixture
def lines(caplog):
    caplog.set_level("INFO")
    logging.use_python_logging(quiet=True)
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def clock(monkeypatch):
    """Time passes by ten seconds whenever it is read."""
    monkeypatch.setattr(progress.time, "monotonic", itertools.count(0.0, 10.0).__next__)


def test_items_pass_unchanged(lines):
    assert list(progress.track(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    assert list(progress.track([], 0, "nothing")) == []
    assert lines()[1].startswith("nothing: 0 photos in 0:00:00")


def test_a_line_every_half_minute(lines, clock):
    list(progress.track(range(8), 30, "localizer", unit="photos", weight=4))
    assert lines() == [
        "localizer: 12 of 30 photos, 0.4 photos/s, 0:00:45 left",
        "localizer: 24 of 30 photos, 0.4 photos/s, 0:00:15 left",
        "localizer: 30 photos in 0:01:30, 0.3 photos/s",
    ]


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.track(range(3), 6, "DDT", unit="photos", weight=2)) == [0, 1, 2]
    shown = capsys.readouterr().err
    assert "DDT" in shown
    assert "6/6" in shown
    assert "photos/s" in shown
