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
    """A clock that stands at the time of its only entry."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_items_pass_unchanged(lines):
    assert list(progress.track(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    assert list(progress.track([], 0, "nothing")) == []
    assert lines()[1].startswith("nothing: 0 photos in 0:00:00")


def test_the_first_line_comes_soon_and_later_ones_every_half_minute(lines, clock):
    for _ in progress.track(range(20), 98, "localizer", unit="photos", weight=5):
        clock[0] += 4
    assert lines() == [
        "localizer: 10 of 98 photos, 1.2 photos/s, 0:01:10 left",
        "localizer: 25 of 98 photos, 1.2 photos/s, 0:00:58 left",
        "localizer: 50 of 98 photos, 1.2 photos/s, 0:00:38 left",
        "localizer: 90 of 98 photos, 1.2 photos/s, 0:00:06 left",
        "localizer: 98 photos in 0:01:20, 1.2 photos/s",
    ]


def test_the_rate_is_that_of_the_last_half_minute(lines, clock):
    """The first item compiles for five minutes; after the hundredth one they are ten times as fast."""
    with progress.meter(1000, "localizer") as advance:
        for done in range(1, 301):
            clock[0] += 300 if done == 1 else 1 if done <= 100 else 0.1
            advance(done, f"step {done}")
    assert lines()[:4] == [
        "localizer, step 2: 2 of 1000 photos, 1.0 photos/s, 0:16:38 left",
        "localizer, step 12: 12 of 1000 photos, 1.0 photos/s, 0:16:28 left",
        "localizer, step 32: 32 of 1000 photos, 1.0 photos/s, 0:16:08 left",
        "localizer, step 62: 62 of 1000 photos, 1.0 photos/s, 0:15:38 left",
    ]
    assert lines()[4].startswith("localizer, step 92: 92 of 1000 photos, 1.0 photos/s, ")
    assert lines()[5] == "localizer: 300 photos in 0:06:59, 0.7 photos/s"


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert list(progress.track(range(3), 6, "DDT", unit="photos", weight=2)) == [0, 1, 2]
    shown = capsys.readouterr().err
    assert "DDT" in shown
    assert "6/6" in shown
    assert "photos/s" in shown
