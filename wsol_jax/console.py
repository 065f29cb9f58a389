"""The log on the screen: our own lines, and other libraries' warnings only."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from absl import logging as absl_logging

PACKAGE = Path(__file__).parent


def log_handler() -> logging.Handler:
    """Return a handler that writes the package's log and other libraries' warnings to stderr, with the time of day."""

    def is_shown(record: logging.LogRecord) -> bool:
        ours = PACKAGE in Path(record.pathname).parents
        return ours or (record.levelno >= logging.WARNING and "orbax" not in record.pathname)

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    handler.addFilter(is_shown)
    return handler


@contextmanager
def shown_log() -> Iterator[None]:
    """Show the log inside of the block in a notebook or at a prompt, unless it is shown already.

    Nothing stays changed afterwards. A program decides for itself, e.g. by `logging.basicConfig(level="INFO")`.
    """
    logger = absl_logging.get_absl_logger()
    is_interactive = hasattr(sys, "ps1")  # of Python's prompt, IPython's and the kernels of notebooks
    if not is_interactive or (logger.hasHandlers() and logger.isEnabledFor(logging.INFO)):
        yield
        return
    handler, level, propagate = log_handler(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a notebook's own handlers would print every line a second time
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
