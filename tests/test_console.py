"""The log on the screen: shown in a notebook, left alone in a program."""

import logging
import sys

import pytest
from absl import logging as absl_logging

from wsol_jax import progress
from wsol_jax.console import shown_log


@pytest.fixture(autouse=True)
def fresh():
    """The levels of a new process, whatever commands have run in this one."""
    loggers = (absl_logging.get_absl_logger(), logging.NOTSET), (logging.getLogger(), logging.WARNING)
    before = [logger.level for logger, _ in loggers]
    for logger, level in loggers:
        logger.setLevel(level)
    yield
    for (logger, _), level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture
def interactive(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)


def state() -> tuple:
    logger = absl_logging.get_absl_logger()
    return list(logger.handlers), logger.level, logger.propagate


def test_a_notebook_shows_every_line_once_and_nothing_stays_changed(interactive, capsys):
    before = state()
    with shown_log():
        list(progress.track("ab", 2, "letters"))
        logging.getLogger("absl").info("of another library")
    assert capsys.readouterr().err.count("letters: 2 photos") == 1
    assert state() == before
    list(progress.track("ab", 2, "letters"))
    assert capsys.readouterr().err == ""


def test_warnings_of_other_libraries_are_shown(interactive, capsys):
    with shown_log():
        logging.getLogger("absl").warning("of another library")
        logging.getLogger("absl").info("no warning")
    assert capsys.readouterr().err[9:] == "of another library\n"


def test_a_log_that_is_shown_already_is_left_alone(interactive, caplog):
    with caplog.at_level("INFO"), shown_log():
        assert state()[0] == []
        list(progress.track("ab", 2, "letters"))
    assert "letters: 2 photos" in caplog.text


def test_a_program_decides_for_itself(capsys):
    before = state()
    with shown_log():
        assert state() == before
        list(progress.track("ab", 2, "letters"))
    assert capsys.readouterr().err == ""
