"""The parts that all commands share: a mistake becomes one line and exit code 2."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from wsol_jax.console import log_handler
from wsol_jax.errors import InputError


class Parser(argparse.ArgumentParser):
    """An argument parser with flags in full, the lines of its help as they are, and an InputError for a mistake."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> None:
        """Raise InputError with the message that argparse would print before it exits."""
        raise InputError(f"command line: {message}")


def exit_code(command: Callable[[], object]) -> int:
    """Run a command; return 0, or 2 after one line about the mistake."""
    try:
        command()
    except (InputError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"error: out of memory: {' '.join(str(error).split()) or 'no size known'}", file=sys.stderr)
        return 2
    return 0


def show_log() -> None:
    """Show our own log on stderr, and other libraries' warnings only."""
    sys.excepthook, sys.unraisablehook = _print_exception, _print_unraisable
    logging.basicConfig(handlers=[log_handler()], force=True)
    logging.getLogger("absl").setLevel(logging.INFO)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads both when it is imported, later
    os.environ.setdefault(
        "TF_ENABLE_ONEDNN_OPTS", "0"
    )  # logs a line at every start otherwise; TensorFlow only reads photos here


def _print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception, but none of TensorStore's threads that answer after a checkpoint has failed."""
    if not _is_late_answer(error):
        sys.__excepthook__(kind, error, trace)


def _print_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Print an exception that nobody could catch, with the same exception to it."""
    if not _is_late_answer(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)


def _is_late_answer(error: BaseException | None) -> bool:
    """Whether an error comes from a thread whose event loop Orbax closed after the first failure of a checkpoint."""
    return type(error) is RuntimeError and str(error) == "Event loop is closed"
